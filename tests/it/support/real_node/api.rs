//! The API of a node, asked without a process for each request: scenarios ask until something is so, and an
//! answer by `kubectl` takes a tenth of a second of a processor.

use std::fmt;
use std::future::{Future, pending};
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use hyper::{Method, Request, StatusCode};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};

use super::super::process::until;

/// Longest wait for an answer of a busy node's API, which meanwhile breaks connections off.
const PATIENCE: Duration = Duration::from_mins(2);

/// Kinds as `kubectl` takes them, with the group and version and the name in paths of each.
const KINDS: [(&str, &str, &str); 6] = [
    ("daemonset", "apis/apps/v1", "daemonsets"),
    ("ephemeralrunner", "apis/actions.github.com/v1alpha1", "ephemeralrunners"),
    ("job", "apis/batch/v1", "jobs"),
    ("pod", "api/v1", "pods"),
    ("secret", "api/v1", "secrets"),
    ("serviceaccount", "api/v1", "serviceaccounts"),
];

/// A client of a node's API, real or embedded.
pub(crate) async fn client_of(kubeconfig: Kubeconfig) -> kube::Client {
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    // The node is on this machine, whatever the environment says.
    config.proxy_url = None;
    kube::Client::try_from(config).unwrap()
}

/// A client with the rights of a kubeconfig.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
}

// === impl Api ===

impl Api {
    pub(super) fn new(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        Self { client: wait(client_of(kubeconfig)) }
    }

    /// An object, if it is there.
    ///
    /// # Panics
    /// If the API does not answer in time, or refuses.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", path(namespace, kind));
        match answered(|| self.request(&Method::GET, &path, &Value::Null)) {
            Ok(object) => Some(object),
            Err(error) if refusal_of(&error) == Some(StatusCode::NOT_FOUND) => None,
            Err(error) => panic!("{kind} {name}: {error}"),
        }
    }

    /// The objects of a kind that have these labels, a selector; all of them if it is empty.
    ///
    /// # Panics
    /// If the API does not answer in time, or refuses.
    pub(crate) fn list(&self, namespace: &str, kind: &str, selector: &str) -> Vec<Value> {
        let list = answered(|| self.try_list(namespace, kind, selector));
        list.unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    /// The same, asked for once; or why there is no list.
    pub(crate) fn try_list(
        &self,
        namespace: &str,
        kind: &str,
        selector: &str,
    ) -> Result<Vec<Value>, kube::Error> {
        let selector = selector.replace('/', "%2F").replace('=', "%3D");
        let path = format!("{}?labelSelector={selector}", path(namespace, kind));
        let mut list = self.request(&Method::GET, &path, &Value::Null)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Creates an object, whose fields say where, and which name it has.
    ///
    /// # Panics
    /// If the API does not answer in time, or refuses.
    pub(crate) fn create(&self, object: &Value) {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let namespace = object["metadata"]["namespace"].as_str().unwrap();
        let mut requests = 0;
        let created = answered(|| {
            requests += 1;
            match self.request(&Method::POST, &path(namespace, &kind), object) {
                // By an earlier request whose answer did not come.
                Err(kube::Error::Api(status))
                    if requests > 1 && status.reason == "AlreadyExists" =>
                {
                    Ok(())
                }
                answer => answer.map(drop),
            }
        });
        created.unwrap_or_else(|error| panic!("{kind} in {namespace}: {error}"));
    }

    /// Removes a namespace; its pods at once, the rest when its time comes. Where that fails, which this
    /// says, it stays: a scenario is over by then, perhaps by a panic.
    pub(crate) fn remove_namespace(&self, namespace: &str) {
        let now = json!({"gracePeriodSeconds": 0});
        let pods = self.request(&Method::DELETE, &path(namespace, "pod"), &now);
        let rest = format!("/api/v1/namespaces/{namespace}");
        let rest = self.request(&Method::DELETE, &rest, &Value::Null);
        if let Err(error) = pods.and(rest) {
            eprintln!("namespace {namespace} is not removed: {error}");
        }
    }

    fn request(&self, method: &Method, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(bytes)
            .unwrap();
        wait(self.client.request(request))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Asks until there is an answer or a refusal; else the last error.
fn answered<T>(mut ask: impl FnMut() -> Result<T, kube::Error>) -> Result<T, kube::Error> {
    let mut last = None;
    let answer = until(PATIENCE, || match ask() {
        Err(error) if refusal_of(&error).is_none() => {
            last = Some(error);
            None
        }
        answer => Some(answer),
    });
    answer.unwrap_or_else(|| Err(last.expect("an error each time")))
}

/// The code with which the API refuses; none where it had no time for the request, or has failed.
fn refusal_of(error: &kube::Error) -> Option<StatusCode> {
    let kube::Error::Api(status) = error else { return None };
    let code = StatusCode::from_u16(status.code).ok()?;
    (code.is_client_error() && code != StatusCode::TOO_MANY_REQUESTS).then_some(code)
}

fn path(namespace: &str, kind: &str) -> String {
    let (_, group, plural) = KINDS
        .into_iter()
        .find(|(name, ..)| *name == kind)
        .unwrap_or_else(|| panic!("{kind} is not in KINDS"));
    format!("/{group}/namespaces/{namespace}/{plural}")
}

/// Waits for what a thread of its own drives: connections stay open between the requests of all scenarios.
fn wait<T>(of: impl Future<Output = T>) -> T {
    static DRIVER: OnceLock<Handle> = OnceLock::new();
    let driver = DRIVER.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(pending::<()>()));
        handle
    });
    driver.block_on(of)
}

//! The API server, as far as the hook needs it: the runner's own pod and Secrets for its
//! containers. Every call is bounded in time and repeated where repeating can help.

mod error;
mod pause;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::Stream;
use http_body_util::{BodyExt, Limited};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{EphemeralContainer, Event, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{
    AttachParams, AttachedProcess, DeleteParams, GetParams, ListParams, LogParams, ObjectList,
    Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tracing::field::Empty;
use tracing::{Span, instrument};

use super::settings::Settings;
pub(super) use error::Error;
use pause::Pauses;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a call is repeated at most.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);
/// Most bytes of an answer; an object in etcd has at most 1.5 MiB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// The server is asked to end each watch after this, so that a silent one is noticed.
const WATCH_TIMEOUT: Duration = Duration::from_mins(1);

/// Most events asked for: a pod has one for each of its containers.
const EVENTS_LIMIT: u32 = 500;
/// Most bytes of a command's stream that wait.
const STREAM_BYTES: usize = 64 * 1024;

/// A request in the form that kube's builders give.
type Built = Result<hyper::Request<Vec<u8>>, kube::core::request::Error>;

/// A way to the API server.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    /// For what says nothing for a long time; a client of it is made where it is needed.
    silent: Box<Config>,
    namespace: String,
    pod: String,
    patience: Duration,
}

// === impl Api ===

impl Api {
    /// Makes a client; nothing is asked yet.
    pub(super) async fn new(settings: &Settings) -> Result<Self, Error> {
        let pod = settings.pod.clone().ok_or(Error::NoPodName)?;
        let mut config = config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The watch is the longest; every other call has its own limit.
        config.read_timeout = Some(WATCH_TIMEOUT + ANSWER_TIMEOUT);
        // Ours honour Retry-After, and know what may be repeated.
        config.default_retry = false;
        let namespace =
            settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let mut silent = Box::new(config.clone());
        silent.read_timeout = None;
        let client = Client::try_from(config).map_err(|error| Error::config(&error))?;
        Ok(Self { client, silent, namespace, pod, patience: RETRY_TIMEOUT.min(settings.timeout) })
    }

    /// The runner's pod.
    pub(super) async fn pod(&self) -> Result<Pod, Error> {
        let request = || self.pods().get(&self.pod, &GetParams::default());
        self.call("get pods", request).await
    }

    /// What the kubelet tells of the pod's images once they are there.
    pub(super) async fn pulled_events(&self) -> Result<Vec<Event>, Error> {
        let fields = format!("involvedObject.name={},reason=Pulled", self.pod);
        let params = ListParams::default().fields(&fields).limit(EVENTS_LIMIT);
        let url = Event::url_path(&(), Some(&self.namespace));
        let request = || kube::core::Request::new(url.clone()).list(&params);
        let list: ObjectList<Event> = self.call("list events", request).await?;
        Ok(list.items)
    }

    /// Adds containers to the runner's pod, all or none. A strategic merge patch needs no resource
    /// version and does not quarrel with the kubelet; sent twice it has the effect of once.
    pub(super) async fn add(&self, containers: &[&EphemeralContainer]) -> Result<Pod, Error> {
        let patch = serde_json::json!({"spec": {"ephemeralContainers": containers}});
        let params = PatchParams::default();
        let request = || {
            let patch = Patch::Strategic(&patch);
            self.pods().patch_subresource("ephemeralcontainers", &self.pod, &params, &patch)
        };
        self.call("patch pods/ephemeralcontainers", request).await
    }

    /// Changes of the runner's pod after `version`.
    #[instrument(skip_all, fields(otel.name = "watch pods", otel.kind = "client"))]
    pub(super) async fn watch(
        &self,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Pod>, kube::Error>> + use<>, Error> {
        let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(60);
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", self.pod)).timeout(seconds);
        let request = self.pods().watch(&params, version).map_err(|error| Error::built(&error))?;
        let verb = "watch pods";
        let answer = timeout(ANSWER_TIMEOUT, self.client.request_events::<Pod>(request)).await;
        let silent = |_| Error::silent(verb, ANSWER_TIMEOUT);
        answer.map_err(silent)?.map_err(|error| self.error(verb, &error))
    }

    /// A Secret for one container, gone with the pod.
    pub(super) async fn create_secret(
        &self,
        name: &str,
        pod_uid: &str,
        env: &[(String, String)],
    ) -> Result<(), Error> {
        let data: BTreeMap<String, ByteString> = env
            .iter()
            .map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())))
            .collect();
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: self.pod.clone(),
            uid: pod_uid.to_owned(),
            ..OwnerReference::default()
        };
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                // ARC removes what has this label when the runner is gone.
                labels: Some([("runner-pod".to_owned(), self.pod.clone())].into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            data: Some(data),
            ..Secret::default()
        };
        let body = serde_json::to_vec(&secret).map_err(|_| Error::NotSent)?;
        let url = Secret::url_path(&(), Some(&self.namespace));
        let params = PostParams::default();
        let request = || kube::core::Request::new(url.clone()).create(&params, body.clone());
        match self.call::<Secret>("create secrets", request).await {
            // An earlier try arrived after all, or a call before this one failed between its Secret
            // and its container. What is in it is not known: it is made anew.
            Err(Error::Refused { code: 409, .. }) => {
                self.delete_secret(name).await?;
                self.call::<Secret>("create secrets", request).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// Removes a Secret; one that is gone is removed.
    pub(super) async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        let url = Secret::url_path(&(), Some(&self.namespace));
        let params = DeleteParams::default();
        let request = || kube::core::Request::new(url.clone()).delete(name, &params);
        match self.call::<serde_json::Value>("delete secrets", request).await {
            Err(Error::Refused { code: 404, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// A container's log, to its end or as it grows.
    pub(super) async fn log(
        &self,
        container: &str,
        follow: bool,
    ) -> Result<impl futures_util::AsyncBufRead + use<>, Error> {
        let params =
            LogParams { container: Some(container.to_owned()), follow, ..LogParams::default() };
        let verb = "get pods/log";
        let request = || self.pods().logs(&self.pod, &params);
        // A container may be silent for as long as it likes.
        let client = if follow { self.patient()? } else { self.client.clone() };
        self.repeat(verb, request, async |request| {
            let answer = client.request_stream(request).await;
            answer.map_err(|error| (self.error(verb, &error), None))
        })
        .await
    }

    /// Starts a command in a container, with all its streams. Repeated only until it has started;
    /// one that a lost answer has started gets no input and ends.
    pub(super) async fn exec(
        &self,
        container: &str,
        command: &[&str],
    ) -> Result<AttachedProcess, Error> {
        let verb = "create pods/exec";
        let pods = kube::Api::<Pod>::namespaced(self.patient()?, &self.namespace);
        let params = AttachParams::default()
            .container(container)
            .stdin(true)
            .stderr(true)
            .max_stdout_buf_size(STREAM_BYTES)
            .max_stderr_buf_size(STREAM_BYTES)
            .max_stdin_buf_size(STREAM_BYTES);
        let nothing = || Ok(hyper::Request::new(Vec::new()));
        self.repeat(verb, nothing, async |_| {
            let process = pods.exec(&self.pod, command.iter().copied(), &params).await;
            process.map_err(|error| (self.error(verb, &error), None))
        })
        .await
    }

    /// A client that waits for ever.
    fn patient(&self) -> Result<Client, Error> {
        Client::try_from(Config::clone(&self.silent)).map_err(|error| Error::config(&error))
    }

    fn pods(&self) -> kube::core::Request {
        kube::core::Request::new(Pod::url_path(&(), Some(&self.namespace)))
    }

    fn error(&self, verb: &'static str, error: &kube::Error) -> Error {
        match error {
            kube::Error::Api(status) => self.refused(verb, status.code, status),
            other => Error::unreachable(verb, other),
        }
    }

    fn refused(&self, verb: &'static str, code: u16, status: &Status) -> Error {
        Error::Refused {
            verb,
            code,
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            message: super::console::quote(&status.message),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        request: impl Fn() -> Built,
    ) -> Result<T, Error> {
        self.repeat(verb, request, async |request| self.once(verb, request).await).await
    }

    /// Asks until there is an answer that repeating would not change.
    #[instrument(skip_all, fields(
        otel.name = verb,
        otel.kind = "client",
        otel.status_code = Empty,
        http.response.status_code = Empty,
        http.request.resend_count = Empty,
    ))]
    async fn repeat<T>(
        &self,
        verb: &'static str,
        request: impl Fn() -> Built,
        ask: impl AsyncFn(hyper::Request<Vec<u8>>) -> Result<T, (Error, Option<Duration>)>,
    ) -> Result<T, Error> {
        let until = Instant::now() + self.patience;
        let mut pauses = Pauses::default();
        let (span, mut again) = (Span::current(), 0_u64);
        loop {
            let request = request().map_err(|error| Error::built(&error))?;
            let left = until.saturating_duration_since(Instant::now()).min(ANSWER_TIMEOUT);
            let answer = timeout(left.max(Duration::from_millis(1)), ask(request));
            let (error, after) = match answer.await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err((error, after))) => (error, after),
                Err(_) => (Error::silent(verb, left), None),
            };
            let pause = pauses.next(after);
            if !error.may_pass() || Instant::now() + pause >= until {
                span.record("otel.status_code", "error");
                return Err(error);
            }
            again = again.saturating_add(1);
            span.record("http.request.resend_count", again);
            tokio::time::sleep(pause).await;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        request: hyper::Request<Vec<u8>>,
    ) -> Result<T, (Error, Option<Duration>)> {
        let response = self.client.send(request.map(Body::from)).await;
        let response = response.map_err(|error| (self.error(verb, &error), None))?;
        let code = response.status();
        Span::current().record("http.response.status_code", code.as_u16());
        let after = pause::retry_after(response.headers());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| (Error::unreachable(verb, &*error), None))?.to_bytes();
        if code.is_success() {
            let not_understood = |_| (Error::NotUnderstood { verb }, None);
            return serde_json::from_slice(&body).map_err(not_understood);
        }
        let status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| {
            // A proxy's page, not the API server's word.
            Status::failure(&String::from_utf8_lossy(&body), "")
        });
        Err((self.refused(verb, code.as_u16(), &status), after))
    }
}

/// Has the API server reached directly: kube asks `HTTPS_PROXY` where a cluster has no proxy of its own, and
/// then refuses it. Refused, with the cluster's name, is a proxy that the kubeconfig itself demands.
fn without_proxy(kubeconfig: &mut Kubeconfig) -> Result<(), String> {
    let meant = kubeconfig.current_context.as_ref();
    let contexts = kubeconfig.contexts.iter().filter(|named| Some(&named.name) == meant);
    let meant =
        contexts.filter_map(|named| named.context.as_ref()).map(|of| of.cluster.clone()).next();
    for named in &mut kubeconfig.clusters {
        let Some(cluster) = named.cluster.as_mut() else { continue };
        let is_meant = Some(&named.name) == meant.as_ref();
        if is_meant && cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
            return Err(named.name.clone());
        }
        // Something that is no secret, so that the environment is not asked.
        cluster.proxy_url = Some("http://unused.invalid".to_owned());
    }
    Ok(())
}

/// `KUBECONFIG`, else the pod's own account.
async fn config() -> Result<Config, Error> {
    let Some(files) = std::env::var_os("KUBECONFIG").filter(|files| !files.is_empty()) else {
        return Config::incluster().map_err(|error| Error::config(&error));
    };
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(&files).filter(|file| !file.as_os_str().is_empty()) {
        let next = Kubeconfig::read_from(file).map_err(|error| Error::config(&error))?;
        merged = merged.merge(next).map_err(|error| Error::config(&error))?;
    }
    without_proxy(&mut merged).map_err(|cluster| {
        Error::Config(format!(
            "the kubeconfig has a `proxy-url` for the cluster {cluster}; the API server is reached \
             directly only"
        ))
    })?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(merged, &options).await;
    let mut config = config.map_err(|error| Error::config(&error))?;
    config.proxy_url = None;
    Ok(config)
}

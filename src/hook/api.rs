//! The hook's client for the API server: the runner's own pod, and Secrets for its containers.
//! Every call has a time limit, and is retried where a retry can help.

mod error;
mod pause;

use std::collections::BTreeMap;
use std::path::Path;
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
/// Longest wait for one response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a call is retried at most.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);
/// Most bytes of a response; an object in etcd has at most 1.5 MiB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// The server is asked to end each watch after this time, so that a watch without events can be
/// told from a server that does not respond.
const WATCH_TIMEOUT: Duration = Duration::from_mins(1);

/// Most events that are listed: a pod has one for each of its containers.
const EVENTS_LIMIT: u32 = 500;
/// Most bytes that are buffered for each stream of a command.
const STREAM_BYTES: usize = 64 * 1024;

/// A request as kube's builders return it.
type Built = Result<hyper::Request<Vec<u8>>, kube::core::request::Error>;

/// A client for the API server.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    /// Configuration of clients without a read timeout, for streams that may be idle for a long
    /// time.
    streaming: Box<Config>,
    namespace: String,
    pod: String,
    patience: Duration,
}

// === impl Api ===

impl Api {
    /// Creates a client; does not connect yet.
    pub(super) async fn new(settings: &Settings) -> Result<Self, Error> {
        let pod = settings.pod.clone().ok_or(Error::NoPodName)?;
        let mut config = config(None).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Longer than the longest call, a watch; every other call has its own limit.
        config.read_timeout = Some(WATCH_TIMEOUT + ANSWER_TIMEOUT);
        // The hook's own retries honour Retry-After, and know which calls can be repeated.
        config.default_retry = false;
        let namespace =
            settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let mut streaming = Box::new(config.clone());
        streaming.read_timeout = None;
        let client = Client::try_from(config).map_err(|error| Error::no_client(&error))?;
        Ok(Self {
            client,
            streaming,
            namespace,
            pod,
            patience: RETRY_TIMEOUT.min(settings.timeout),
        })
    }

    /// Gets the runner's pod.
    pub(super) async fn pod(&self) -> Result<Pod, Error> {
        let request = || self.pods().get(&self.pod, &GetParams::default());
        self.call("get pods", request).await
    }

    /// Lists the kubelet's events about images that were pulled for the pod.
    pub(super) async fn pulled_events(&self) -> Result<Vec<Event>, Error> {
        let fields = format!("involvedObject.name={},reason=Pulled", self.pod);
        let params = ListParams::default().fields(&fields).limit(EVENTS_LIMIT);
        let url = Event::url_path(&(), Some(&self.namespace));
        let request = || kube::core::Request::new(url.clone()).list(&params);
        let list: ObjectList<Event> = self.call("list events", request).await?;
        Ok(list.items)
    }

    /// Adds containers to the runner's pod, all or none. A strategic merge patch needs no resource
    /// version, so it does not conflict with the kubelet's updates, and repeating it is safe.
    pub(super) async fn add(&self, containers: &[&EphemeralContainer]) -> Result<Pod, Error> {
        let patch = serde_json::json!({"spec": {"ephemeralContainers": containers}});
        let params = PatchParams::default();
        let request = || {
            let patch = Patch::Strategic(&patch);
            self.pods().patch_subresource("ephemeralcontainers", &self.pod, &params, &patch)
        };
        self.call("patch pods/ephemeralcontainers", request).await
    }

    /// Watches the runner's pod for changes after `version`.
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
        let timed_out = |_| Error::timed_out(verb, ANSWER_TIMEOUT);
        answer.map_err(timed_out)?.map_err(|error| self.error(verb, &error))
    }

    /// Creates a Secret for one container. It is deleted with the pod.
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
                // ARC deletes Secrets with this label when the runner is deleted.
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
            // Either an earlier attempt succeeded after all, or an earlier call failed between
            // creating its Secret and its container. The content is unknown, so the Secret is
            // created again.
            Err(Error::Refused { code: 409, .. }) => {
                self.delete_secret(name).await?;
                self.call::<Secret>("create secrets", request).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// Deletes a Secret; one that does not exist is not an error.
    pub(super) async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        let url = Secret::url_path(&(), Some(&self.namespace));
        let params = DeleteParams::default();
        let request = || kube::core::Request::new(url.clone()).delete(name, &params);
        match self.call::<serde_json::Value>("delete secrets", request).await {
            Err(Error::Refused { code: 404, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// A container's log up to now, or, with `follow`, as it grows.
    pub(super) async fn log(
        &self,
        container: &str,
        follow: bool,
    ) -> Result<impl futures_util::AsyncBufRead + use<>, Error> {
        let params =
            LogParams { container: Some(container.to_owned()), follow, ..LogParams::default() };
        let verb = "get pods/log";
        let request = || self.pods().logs(&self.pod, &params);
        // A container may write nothing for any length of time.
        let client = if follow { self.streaming_client()? } else { self.client.clone() };
        self.repeat(verb, request, async |request| {
            let answer = client.request_stream(request).await;
            answer.map_err(|error| (self.error(verb, &error), None))
        })
        .await
    }

    /// Starts a command in a container, with all its streams. Retried only until it has started; if
    /// a response is lost after the start, that command gets no input and ends.
    pub(super) async fn exec(
        &self,
        container: &str,
        command: &[&str],
    ) -> Result<AttachedProcess, Error> {
        let verb = "create pods/exec";
        let pods = kube::Api::<Pod>::namespaced(self.streaming_client()?, &self.namespace);
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

    /// A client without a read timeout.
    fn streaming_client(&self) -> Result<Client, Error> {
        Client::try_from(Config::clone(&self.streaming)).map_err(|error| Error::no_client(&error))
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

    /// Sends a request until the response is final, or [`RETRY_TIMEOUT`] has passed.
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
                Err(_) => (Error::timed_out(verb, left), None),
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
            // A page of a proxy instead of a `Status` of the API server.
            Status::failure(&String::from_utf8_lossy(&body), "")
        });
        Err((self.refused(verb, code.as_u16(), &status), after))
    }
}

/// By a file, else those that `KUBECONFIG` lists, or else the pod's service account.
async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    ephemon_kube_config::load(kubeconfig).await.map_err(|error| Error::not_configured(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_with_a_proxy_is_an_error_that_says_what_to_do() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("config");
        let text = |proxy: &str| {
            format!(
                "clusters: [{{name: c, cluster: {{server: 'https://h.example.org'{proxy}}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: c, user: u, namespace: arc}}}}]\n\
                 current-context: x\nusers: [{{name: u, user: {{token: t}}}}]\n"
            )
        };
        std::fs::write(&path, text("")).unwrap();
        let config = config(Some(&path)).await.unwrap();
        assert_eq!((&*config.default_namespace, config.proxy_url), ("arc", None));

        std::fs::write(&path, text(", proxy-url: 'http://u:secret@p:3128'")).unwrap();
        let Err(error) = super::config(Some(&path)).await else { panic!("a proxy was accepted") };
        let message = error.to_string();
        assert!(message.contains("`proxy-url` for the cluster c"), "{message}");
        assert!(message.contains("remove") && !message.contains("secret"), "{message}");
    }

    #[tokio::test]
    async fn without_a_kubeconfig_the_service_account_is_used() {
        // Tests do not run in a pod.
        let Err(error) = config(None).await else { return };
        assert!(error.to_string().contains("deploy/hook/rbac.yaml"), "{error}");
    }
}

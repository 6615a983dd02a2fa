//! A client of either node's API that sees each answer as it came.

use std::time::{Duration, Instant};

pub(super) use ephemon_demo::api::containers::status as status_of;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::{Method, Request};
use kube::client::Body;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::node::Node;
use super::words::neutral;
use crate::support::real_node::api::client_of;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);
/// The namespace of the scenario, on both nodes.
pub(super) const NAMESPACE: &str = "compared";

/// What a main container runs until it is asked to end.
pub(super) const UNTIL_ASKED: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// The client, and what it knows of its node.
pub(super) struct Client {
    inner: kube::Client,
    pub(super) node: String,
    pub(super) image: &'static str,
    root: String,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) text: String,
    pub(super) body: Value,
}

/// An open watch.
pub(super) struct Watch {
    body: Body,
    rest: Vec<u8>,
}

// === impl Client ===

impl Client {
    pub(super) async fn connect(node: &impl Node) -> Self {
        let kubeconfig = Kubeconfig::read_from(node.kubeconfig()).unwrap();
        let inner = client_of(kubeconfig).await;
        Self { inner, node: node.name().to_owned(), image: node.image(), root: node.root() }
    }

    /// The path of all pods.
    pub(super) fn pods() -> String {
        format!("/api/v1/namespaces/{NAMESPACE}/pods")
    }

    /// The path of a pod's ephemeral containers.
    pub(super) fn ephemeral(pod: &str) -> String {
        format!("{}/{pod}/ephemeralcontainers", Self::pods())
    }

    /// A text without what is this node's own.
    pub(super) fn neutral(&self, text: &str) -> String {
        let own = [
            (self.root.clone(), ""),
            (self.image.to_owned(), "IMAGE"),
            (self.node.clone(), "NODE"),
        ];
        neutral(text, &own)
    }

    /// A request with a body of this media type, and its answer.
    pub(super) async fn send(&self, method: Method, path: &str, kind: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body.as_bytes().to_vec()));
        self.ask(request.unwrap()).await.unwrap()
    }

    /// The answer to a request that changes nothing: it is sent again where a connection broke.
    pub(super) async fn get(&self, path: &str) -> Answer {
        until(path, async || {
            let answer = self.ask(Request::get(path).body(Body::empty()).unwrap()).await;
            answer.inspect_err(|error| eprintln!("{path}: {error}")).ok()
        })
        .await
    }

    async fn ask(&self, request: Request<Body>) -> Result<Answer, kube::Error> {
        let answer = async {
            let response = self.inner.send(request).await?;
            let code = response.status().as_u16();
            Ok::<_, kube::Error>((code, response.into_body().collect().await?.to_bytes()))
        };
        let (code, bytes) = timeout(PATIENCE, answer).await.expect("an answer comes in time")?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { code, text, body })
    }

    /// A strategic merge patch of a pod's ephemeral containers.
    pub(super) async fn add(&self, pod: &str, containers: &Value) -> Answer {
        let patch = json!({"spec": {"ephemeralContainers": containers}}).to_string();
        let kind = "application/strategic-merge-patch+json";
        self.send(Method::PATCH, &Self::ephemeral(pod), kind, &patch).await
    }

    /// Opens a watch of pods with these parameters.
    pub(super) async fn watch(&self, query: &str) -> Watch {
        let path = format!("{}?watch=true&{query}", Self::pods());
        let response = self.inner.send(Request::get(path).body(Body::empty()).unwrap()).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        Watch { body: response.into_body(), rest: Vec::new() }
    }

    /// How an attempt to run a command in a container ends: a refusal, or the status at the end.
    pub(super) async fn exec(&self, pod: &str, container: &str, command: &[&str]) -> String {
        let words: String =
            command.iter().fold(String::new(), |all, word| all + "&command=" + word);
        let query = format!("container={container}&stdout=true{words}");
        let connect = || {
            let request = Request::get(format!("{}/{pod}/exec?{query}", Self::pods()));
            self.inner.connect(request.body(Vec::new()).unwrap())
        };
        let mut connection = connect().await;
        // A server may close a connection that was kept, just as it is used again.
        for _ in 0..3 {
            if !matches!(connection, Err(kube::Error::Service(_))) {
                break;
            }
            connection = connect().await;
        }
        match connection {
            Err(kube::Error::Api(status)) => {
                format!("refused: {} {}: {}", status.code, status.reason, status.message)
            }
            Err(other) => format!("refused: {other}"),
            Ok(connection) => {
                let mut stream = connection.into_stream();
                let mut told = "nothing".to_owned();
                while let Some(Ok(message)) = stream.next().await {
                    if let Some((3, status)) = message.into_data().split_first() {
                        told = String::from_utf8_lossy(status).trim().to_owned();
                    }
                }
                let status: Value = serde_json::from_str(&told).unwrap_or(json!(told));
                format!("begun, then {}", sorted(&status))
            }
        }
    }

    /// On a real node a namespace is an object, with an account that comes a moment later.
    pub(super) async fn make_namespace(&self) {
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let kind = "application/json";
        self.send(Method::POST, "/api/v1/namespaces", kind, &body.to_string()).await;
    }

    /// A pod of one container, with a volume.
    pub(super) fn pod(&self, name: &str, script: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "nodeName": self.node, "restartPolicy": "Never",
                // Enough on a busy machine for what ends when it is asked to.
                "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": false, "enableServiceLinks": false,
                "volumes": [{"name": "work", "emptyDir": {}}],
                "containers": [{
                    "name": "main", "image": self.image, "command": ["sh", "-c", script],
                    "resources": {"requests": {"cpu": "10m"}},
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                }],
            },
        })
    }

    /// An ephemeral container.
    pub(super) fn container(&self, name: &str, script: &str) -> Value {
        json!({"name": name, "image": self.image, "command": ["sh", "-c", script]})
    }

    /// Makes a pod; waits for the account that it needs.
    pub(super) async fn create(&self, pod: &Value) -> Value {
        until("the pod is taken", async || {
            let kind = "application/json";
            let answer = self.send(Method::POST, &Self::pods(), kind, &pod.to_string()).await;
            let early = answer.code == 403 || answer.code == 404;
            assert!(early || answer.code == 201, "{}", answer.text);
            (answer.code == 201).then_some(answer.body)
        })
        .await
    }

    /// A pod as it stands.
    pub(super) async fn look(&self, pod: &str) -> Value {
        self.get(&format!("{}/{pod}", Self::pods())).await.body
    }

    /// Waits until a container's state satisfies.
    pub(super) async fn until_state<T>(
        &self,
        pod: &str,
        container: &str,
        mut satisfied: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        until(&format!("{pod}/{container}"), async || {
            let object = self.look(pod).await;
            satisfied(status_of(&object, container)?)
        })
        .await
    }

    /// Waits until a container runs.
    pub(super) async fn until_running(&self, pod: &str, container: &str) {
        let running = |status: &Value| status.pointer("/state/running").map(drop);
        self.until_state(pod, container, running).await;
    }

    /// Waits until a container is over; its status.
    pub(super) async fn until_over(&self, pod: &str, container: &str) -> Value {
        let over = |status: &Value| status.pointer("/state/terminated").map(|_| status.clone());
        self.until_state(pod, container, over).await
    }

    /// Asks for the end of all pods.
    pub(super) async fn remove_pods(&self) {
        let all = self.get(&Self::pods()).await.body;
        for pod in all["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let path = format!("{}/{name}?gracePeriodSeconds=0", Self::pods());
            self.send(Method::DELETE, &path, "application/json", "").await;
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Code, reason, message and causes of a refusal; code and kind of anything else.
    pub(super) fn line(&self) -> String {
        let text = |key: &str| self.body[key].as_str().unwrap_or("-").to_owned();
        if self.body["kind"] != "Status" {
            return format!("{} {}", self.code, text("kind"));
        }
        let details = &self.body["details"];
        let causes: Vec<String> = details["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| format!("{}@{}", cause["reason"], cause["field"]).replace('"', ""))
            .collect();
        let about = [&details["kind"], &details["name"]].map(|part| part.as_str().unwrap_or("-"));
        format!(
            "{} {}: {} | {} | {}",
            self.code,
            text("reason"),
            text("message"),
            about.join("/"),
            causes.join(", ")
        )
    }
}

// === impl Watch ===

impl Watch {
    /// The next event; none at the stream's end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event comes in time")?;
            self.rest.extend(frame.ok()?.into_data().unwrap_or_default());
        }
    }
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none in time.
pub(super) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: it has not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The keys of an object in their order.
pub(super) fn keys(value: &Value) -> String {
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let mut keys: Vec<&str> = keys.collect();
    keys.sort_unstable();
    keys.join(" ")
}

/// JSON with the keys of every object in order.
pub(super) fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut parts: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", sorted(value))).collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

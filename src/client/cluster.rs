//! The agents' pods of a cluster.

use std::time::Duration;

use ephemon_base::visible;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use thiserror::Error as ThisError;

use crate::agent::Agent;
use crate::api_client::{ClientError, client};
use crate::connection::Way;
use crate::error::chain;
use crate::source::{AGENT_NAMESPACE, Source};
use crate::trouble::Trouble;

/// What the agents' pods are known by.
const SELECTOR: &str = "app.kubernetes.io/name=ephemon,app.kubernetes.io/component=agent";
/// The port of the agent, by its name and else by its number.
const PORT_NAME: &str = "metrics";
const PORT: u16 = 9911;
/// Pods of one page of a list, and of all.
const PAGE_LIMIT: u32 = 250;
const POD_LIMIT: usize = 5000;
/// Longest wait for a connection to the API server, and for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no agents are found.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The configuration is missing or wrong.
    #[error("{0}; set --kubeconfig, --context or KUBECONFIG, or name one agent with --agent URL")]
    Config(#[from] ephemon_kube_config::Error),
    /// No client can be made of the configuration.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The pods cannot be listed.
    #[error("cannot list the agents' pods in {place}: {why}")]
    List {
        /// A namespace, or all.
        place: String,
        /// Why not.
        why: String,
    },
    /// There is none.
    #[error(
        "no agent in {0}: no pod has the labels {SELECTOR}; set --agent-namespace, or install the \
         agent"
    )]
    None(String),
}

/// Which pods are agents of a cluster, and which of them cannot be asked now.
pub(crate) async fn agents(source: &Source) -> Result<(Vec<Agent>, Vec<Trouble>), Error> {
    let context = source.context.as_deref();
    let mut config =
        ephemon_kube_config::load_as_kubectl(source.kubeconfig.as_deref(), context).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let client = client(config)?;
    let namespace = source.agent_namespace.as_deref();
    let own = namespace.unwrap_or(AGENT_NAMESPACE);
    let named = |namespace: &str| format!("namespace {}", visible(namespace));
    let found = list(&Api::namespaced(client.clone(), own), named(own)).await;
    let (place, pods) = match (namespace, found) {
        (_, Ok(pods)) if !pods.is_empty() => (named(own), pods),
        (Some(_), found) => (named(own), found?),
        (None, found) => {
            match (list(&Api::all(client.clone()), "all namespaces".into()).await, found) {
                (Ok(pods), _) => (format!("{} or any other", named(own)), pods),
                (Err(_), Ok(_)) => {
                    return Err(Error::None(format!(
                        "{} (and others cannot be listed)",
                        named(own)
                    )));
                }
                (Err(_), Err(error)) => return Err(error),
            }
        }
    };
    if pods.is_empty() {
        return Err(Error::None(place));
    }
    Ok(sorted(&client, pods))
}

async fn list(api: &Api<Pod>, place: String) -> Result<Vec<Pod>, Error> {
    let mut parameters = ListParams::default().labels(SELECTOR).limit(PAGE_LIMIT);
    let mut pods = Vec::new();
    loop {
        let page = tokio::time::timeout(LIST_TIMEOUT, api.list(&parameters)).await;
        let page = match page {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return Err(Error::List { place, why: chain(&error) }),
            Err(_) => {
                let why = format!("no answer within {} s", LIST_TIMEOUT.as_secs());
                return Err(Error::List { place, why });
            }
        };
        pods.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if pods.len() < POD_LIMIT => parameters = parameters.continue_token(&token),
            _ => return Ok(pods),
        }
    }
}

/// Agents that run, and what is the matter with others.
fn sorted(client: &Client, mut pods: Vec<Pod>) -> (Vec<Agent>, Vec<Trouble>) {
    pods.sort_by_key(|pod| (node(pod), pod.name_any()));
    let (mut agents, mut troubles) = (Vec::new(), Vec::new());
    for pod in pods {
        if let Some(why) = obstacle(&pod) {
            troubles.push(Trouble { node: node(&pod), why });
            continue;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Box::new(Api::namespaced(client.clone(), namespace));
        agents
            .push(Agent::new(node(&pod), Way::Pod { api, name: pod.name_any(), port: port(&pod) }));
    }
    (agents, troubles)
}

fn node(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    node.unwrap_or_else(|| format!("no node (pod {})", pod.name_any()))
}

/// Why a pod cannot be asked, as a clause.
fn obstacle(pod: &Pod) -> Option<String> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(format!("its agent {name} is being deleted"));
    }
    (phase != "Running").then(|| format!("its agent {name} is {}", visible(phase)))
}

/// The agent's port.
fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(PORT_NAME));
    named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> Pod {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_pod_says_its_port_and_whether_it_can_be_asked() {
        let running = pod(r#"{"metadata":{"name":"a"},"status":{"phase":"Running"},
                "spec":{"nodeName":"n1","containers":[{"name":"agent","ports":[
                {"name":"other","containerPort":1},{"name":"metrics","containerPort":9000}]}]}}"#);
        assert_eq!((obstacle(&running), port(&running), node(&running)), (None, 9000, "n1".into()));
        let pending = pod(r#"{"metadata":{"name":"b"},"status":{"phase":"Pending"}}"#);
        assert_eq!(obstacle(&pending).unwrap(), "its agent b is Pending");
        assert_eq!((port(&pending), node(&pending)), (PORT, "no node (pod b)".into()));
        let text = r#"{"metadata":{"name":"c","deletionTimestamp":"2026-11-29T00:00:00Z"}}"#;
        assert!(obstacle(&pod(text)).unwrap().contains("being deleted"));
    }
}

//! Whose points these are: resources as log records have them, for metrics.

use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::points::text;
use crate::names::{K8S_NODE_NAME, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use crate::source;
use crate::source::Source;

/// What the agent is called where it sends of itself.
const AGENT: &str = "ephemon-agent";

/// A resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owner(pub(crate) Resource);

// === impl Owner ===

impl Owner {
    /// A container, or with an empty name of one, a pod. The same attributes as its log has, and an
    /// instance of its own: where back ends make series of points by service and instance alone,
    /// those of one service's containers would else be one.
    pub fn of(source: &Source) -> Self {
        let message = source::Resource::new(source).message;
        let mut resource = Resource::decode(&*message).unwrap_or_default();
        let names = [&source.pod.namespace, &source.pod.name, &source.container];
        let instance: Vec<&str> =
            names.into_iter().map(|name| &**name).filter(|name| !name.is_empty()).collect();
        resource.attributes.retain(|known| known.key != SERVICE_INSTANCE_ID);
        resource.attributes.push(text(SERVICE_INSTANCE_ID, &instance.join(".")));
        Self(resource)
    }

    /// The agent itself, of this node. What the operator says goes over it.
    pub fn agent(node: &str, said: &[(String, String)]) -> Self {
        let own = [
            (SERVICE_NAME, AGENT),
            (SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            (SERVICE_INSTANCE_ID, node),
            (K8S_NODE_NAME, node),
        ];
        let own = own.into_iter().filter(|(key, _)| said.iter().all(|(other, _)| other != key));
        let said = said.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let attributes = own.chain(said).map(|(key, value)| text(key, value)).collect();
        Self(Resource { attributes, ..Resource::default() })
    }
}

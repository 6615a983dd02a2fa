//! Connections to a collector's gRPC port, and the metadata of each call.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::config::Target;
use super::connection::Connector;
use super::{SetupError, USER_AGENT};

/// Keep-alive interval during a call, to detect a peer that is gone.
const PING: Duration = Duration::from_secs(20);

/// Opens channels to one collector.
#[derive(Debug)]
pub struct GrpcDialer {
    endpoint: Endpoint,
    connector: Connector,
}

/// The configured headers as metadata, which replace all others of a call.
#[derive(Debug, Clone)]
pub struct Metadata(MetadataMap);

// === impl GrpcDialer ===

impl GrpcDialer {
    /// Reads certificates, but does not connect.
    pub fn new(target: &Target) -> Result<Self, SetupError> {
        // tonic would use TLS itself for `https`, so it gets only the authority.
        let authority = target.endpoint.authority().map_or("", |authority| authority.as_str());
        let endpoint = Endpoint::new(format!("http://{authority}"))?
            .origin(target.endpoint.clone())
            .user_agent(USER_AGENT)?
            .connect_timeout(target.timeout)
            // The SDK sets none if it is given a channel.
            .timeout(target.timeout)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(target.timeout);
        Ok(Self { endpoint, connector: Connector::new(target)? })
    }

    /// A channel with its own connection, which is opened by the first call. Needs a runtime.
    pub fn channel(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }
}

// === impl Metadata ===

impl Metadata {
    /// The metadata for calls to this collector.
    pub fn of(target: &Target) -> Self {
        let headers = target.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self(MetadataMap::from_headers(headers.collect()))
    }

    /// Converts it for tonic.
    pub fn to_map(&self) -> MetadataMap {
        self.0.clone()
    }
}

/// For the SDK's exporter, which adds headers that it read from the environment itself.
impl Interceptor for Metadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        *request.metadata_mut() = self.to_map();
        Ok(request)
    }
}

//! The way to a collector's gRPC port, and what each call brings along.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::config::Target;
use super::connection::Connector;
use super::{SetupError, USER_AGENT};

/// While a call is open, a peer that is gone is noticed by this.
const PING: Duration = Duration::from_secs(20);

/// Opens channels to one collector.
#[derive(Debug)]
pub struct GrpcDialer {
    endpoint: Endpoint,
    connector: Connector,
}

/// Headers of the configuration, as metadata: of each call they are all there is.
#[derive(Debug, Clone)]
pub struct Metadata(MetadataMap);

// === impl GrpcDialer ===

impl GrpcDialer {
    /// Reads certificates; connects nowhere.
    pub fn new(target: &Target) -> Result<Self, SetupError> {
        // tonic would speak TLS itself where it sees `https`: it is told who the calls are for alone.
        let authority = target.endpoint.authority().map_or("", |authority| authority.as_str());
        let endpoint = Endpoint::new(format!("http://{authority}"))?
            .origin(target.endpoint.clone())
            .user_agent(USER_AGENT)?
            .connect_timeout(target.timeout)
            // The SDK sets none where it is given a channel.
            .timeout(target.timeout)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(target.timeout);
        Ok(Self { endpoint, connector: Connector::new(target)? })
    }

    /// A channel with a connection of its own, made at the first call. Needs a runtime.
    pub fn channel(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }
}

// === impl Metadata ===

impl Metadata {
    /// What calls to this collector bring along.
    pub fn of(target: &Target) -> Self {
        let headers = target.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self(MetadataMap::from_headers(headers.collect()))
    }

    /// As tonic takes it.
    pub fn to_map(&self) -> MetadataMap {
        self.0.clone()
    }
}

/// In the SDK's exporter, which adds what it read from the environment by rules of its own.
impl Interceptor for Metadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        *request.metadata_mut() = self.to_map();
        Ok(request)
    }
}

//! Unary gRPC calls with bodies that are encoded already.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use hyper::http::uri::PathAndQuery;
use tonic::client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{Answer, Censor, ConnectError, causes, tls, too_slow};
use crate::Signal;
use crate::config::Target;

/// The most that is read of an answer, in bytes. Far above what any collector says: a longer answer
/// would pass for one that says that the request is too large.
const LARGEST_ANSWER: usize = 1 << 20;
/// While a call is open, a peer that is gone is noticed by this.
const PING: Duration = Duration::from_secs(20);

/// The way to a collector's gRPC port.
#[derive(Debug)]
pub(super) struct Grpc {
    endpoint: Endpoint,
    channel: Channel,
    path: PathAndQuery,
    headers: MetadataMap,
    timeout: Duration,
    gzip: bool,
    censor: Censor,
}

/// Bytes in, bytes out.
#[derive(Debug, Clone, Copy)]
struct Raw;

// === impl Grpc ===

impl Grpc {
    pub(super) fn new(signal: Signal, target: &Target) -> Result<Self, ConnectError> {
        let mut endpoint = Endpoint::new(target.endpoint.to_string())?
            .user_agent(concat!("ephemon/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(target.timeout)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(target.timeout);
        if target.endpoint.scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(tls::for_grpc(&target.tls)?)?;
        }
        let headers = target.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Ok(Self {
            channel: endpoint.connect_lazy(),
            endpoint,
            path: PathAndQuery::from_static(signal.grpc_path()),
            headers: MetadataMap::from_headers(headers.collect()),
            timeout: target.timeout,
            gzip: target.gzip,
            censor: Censor::of_target(target),
        })
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        let Ok(called) = tokio::time::timeout(self.timeout, self.call(body.clone())).await else {
            // The connection may be the trouble: the next attempt has one of its own.
            self.channel = self.endpoint.connect_lazy();
            return too_slow(self.timeout);
        };
        match called {
            Ok(answer) => Answer::accepted(&answer, &self.censor),
            Err(status) => Answer::of_status(&status, &self.censor),
        }
    }

    async fn call(&self, body: Bytes) -> Result<Bytes, Status> {
        let mut client =
            client::Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER);
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        // Collectors answer in the encoding of the request.
        client = client.accept_compressed(CompressionEncoding::Gzip);
        client.ready().await.map_err(|error| Status::unavailable(causes(&error)))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(self.timeout);
        Ok(client.unary(request, self.path.clone(), Raw).await?.into_inner())
    }
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(body.len());
        into.put(body);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

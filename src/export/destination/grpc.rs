//! Unary gRPC calls with bodies that are encoded already.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use ephemon_otel::config::Target;
use ephemon_otel::{GrpcDialer, Metadata, SetupError, Signal, causes};
use hyper::http::uri::PathAndQuery;
use tonic::client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Answer, Censor, too_slow};

/// The most that is read of an answer, in bytes. Far above what any collector says: a longer answer
/// would pass for one that says that the request is too large.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The way to a collector's gRPC port.
#[derive(Debug)]
pub(super) struct Grpc {
    dialer: GrpcDialer,
    channel: Channel,
    path: PathAndQuery,
    metadata: Metadata,
    timeout: Duration,
    gzip: bool,
    censor: Censor,
}

/// Bytes in, bytes out.
#[derive(Debug, Clone, Copy)]
struct Raw;

// === impl Grpc ===

impl Grpc {
    pub(super) fn new(signal: Signal, target: &Target) -> Result<Self, SetupError> {
        let dialer = GrpcDialer::new(target)?;
        Ok(Self {
            channel: dialer.channel(),
            dialer,
            path: PathAndQuery::from_static(signal.grpc_path()),
            metadata: Metadata::of(target),
            timeout: target.timeout,
            gzip: target.gzip,
            censor: Censor::of_target(target),
        })
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        let Ok(called) = tokio::time::timeout(self.timeout, self.call(body.clone())).await else {
            // The connection may be the trouble: the next attempt has one of its own.
            self.channel = self.dialer.channel();
            return too_slow(self.timeout);
        };
        match called {
            Ok(answer) => Answer::accepted(&answer, &self.censor),
            Err(status) => Answer::of_status(&status, &self.censor),
        }
    }

    async fn call(&self, body: Bytes) -> Result<Bytes, Status> {
        let mut client =
            client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        // Collectors answer in the encoding of the request.
        client = client.accept_compressed(CompressionEncoding::Gzip);
        client.ready().await.map_err(|error| Status::unavailable(causes(&error)))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.to_map();
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

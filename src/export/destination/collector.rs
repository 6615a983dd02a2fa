//! The way to a collector, made anew when its certificates are: operators that renew them replace the
//! files at the same paths, and the kubelet does so with those of a Secret.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ephemon_otel::config::{Protocol, Target, Tls};
use ephemon_otel::{SetupError, Signal};

use super::Answer;
use super::grpc::Grpc;
use super::http::Http;

/// By which protocol, with the certificates that were there when it was made.
#[derive(Debug)]
enum Way {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

/// What tells that a file is another one, or has other contents: device, inode, length, time of the
/// last change. `None` where there is none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    signal: Signal,
    target: Target,
    way: Result<Way, String>,
    /// Of the files by which the way was made.
    stamps: Vec<Stamp>,
    /// Of files that are no use, and of which that was said.
    useless: Option<Vec<Stamp>>,
}

// === impl Collector ===

impl Collector {
    pub(super) fn new(signal: Signal, mut target: Target) -> Self {
        if target.endpoint.scheme_str() != Some("https") {
            // No TLS is spoken: its files are no matter.
            target.tls = Tls::default();
        }
        let stamps = stamps(&target.tls);
        let way = way(signal, &target);
        Self { signal, target, way, stamps, useless: None }
    }

    /// Why there is no way to it.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.way.as_ref().err().map(String::as_str)
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        self.renew();
        match &mut self.way {
            Ok(Way::Grpc(grpc)) => grpc.attempt(body).await,
            Ok(Way::Http(http)) => http.attempt(body).await,
            Err(reason) => Answer::Retry { after: None, reason: reason.clone() },
        }
    }

    /// Makes the way anew where there is none, or where the files have changed. While these are no use,
    /// as while they are being replaced, the way there was stays, and they are read again each time.
    fn renew(&mut self) {
        let now = stamps(&self.target.tls);
        if self.way.is_ok() && now == self.stamps {
            return;
        }
        match way(self.signal, &self.target) {
            Err(reason) if self.way.is_ok() => {
                if self.useless.as_ref() != Some(&now) {
                    let signal = self.signal.as_str();
                    tracing::warn!(
                        "certificates for {signal} have changed and are not used: {reason}"
                    );
                }
                self.useless = Some(now);
            }
            way => (self.way, self.stamps, self.useless) = (way, now, None),
        }
    }
}

fn way(signal: Signal, target: &Target) -> Result<Way, String> {
    let way = match target.protocol {
        Protocol::Grpc => Grpc::new(signal, target).map(|grpc| Way::Grpc(Box::new(grpc))),
        Protocol::HttpProtobuf => Http::new(target).map(|http| Way::Http(Box::new(http))),
    };
    way.map_err(|error: SetupError| error.to_string())
}

fn stamps(tls: &Tls) -> Vec<Stamp> {
    let client = tls.client.iter().flat_map(|(certificate, key)| [certificate, key]);
    tls.certificate.iter().chain(client).map(PathBuf::as_path).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
}

//! One request by HTTP, and what the answer means.

use std::time::Duration;

use bytes::Bytes;
use ephemon_otel::config::Target;
use ephemon_otel::{HttpClient, SetupError};

use super::{Answer, Censor, too_slow};

/// The way to a collector's HTTP port.
#[derive(Debug)]
pub(super) struct Http {
    client: HttpClient,
    timeout: Duration,
    censor: Censor,
    /// A proxy passes requests on, so that an answer may be its own.
    is_passed_on: bool,
}

// === impl Http ===

impl Http {
    pub(super) fn new(target: &Target) -> Result<Self, SetupError> {
        let client = HttpClient::new(target)?;
        let is_passed_on = target.proxy.is_some() && target.endpoint.scheme_str() != Some("https");
        Ok(Self {
            client,
            timeout: target.timeout,
            censor: Censor::of_target(target),
            is_passed_on,
        })
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.client.post(body.clone())).await {
            Err(_) => too_slow(self.timeout),
            Ok(Err(reason)) => Answer::Retry { after: None, reason: self.censor.clean(&reason) },
            Ok(Ok(answer)) => {
                let (parts, body) = answer.into_parts();
                let now = jiff::Timestamp::now();
                let answer =
                    Answer::of_http(parts.status, &parts.headers, &body, now, &self.censor);
                match answer {
                    // Some proxies say 500 of a collector that they cannot reach.
                    Answer::Refused { reason }
                        if self.is_passed_on && parts.status.is_server_error() =>
                    {
                        Answer::Retry { after: None, reason }
                    }
                    answer => answer,
                }
            }
        }
    }
}

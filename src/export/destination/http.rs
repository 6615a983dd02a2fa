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
}

// === impl Http ===

impl Http {
    pub(super) fn new(target: &Target) -> Result<Self, SetupError> {
        let client = HttpClient::new(target)?;
        Ok(Self { client, timeout: target.timeout, censor: Censor::of_target(target) })
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.client.post(body.clone())).await {
            Err(_) => too_slow(self.timeout),
            Ok(Err(reason)) => Answer::Retry { after: None, reason: self.censor.clean(&reason) },
            Ok(Ok(answer)) => {
                let (parts, body) = answer.into_parts();
                let now = jiff::Timestamp::now();
                Answer::of_http(parts.status, &parts.headers, &body, now, &self.censor)
            }
        }
    }
}

//! What a collector's answer means: taken, later, smaller, or never. Pure.
//!
//! By the specification's lists: <https://opentelemetry.io/docs/specs/otlp/#failures>.

use std::time::Duration;

use ephemon_otel::causes;
use ephemon_otel::config::Headers;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::Censor;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Taken, but for so many items.
    Accepted {
        /// How many were not taken.
        rejected: u64,
        /// What the collector says of it, cut and cleaned.
        remark: Option<String>,
    },
    /// Not now.
    Retry {
        /// When it wants to be asked again.
        after: Option<Duration>,
        /// Why, cut and cleaned.
        reason: String,
    },
    /// Not with these credentials. They may be renewed: it is tried again, as after an outage.
    Denied {
        /// Why, cut and cleaned.
        reason: String,
    },
    /// Not in one piece.
    TooLarge {
        /// Why, cut and cleaned.
        reason: String,
    },
    /// Never.
    Refused {
        /// Why, cut and cleaned.
        reason: String,
    },
}

// === impl Answer ===

impl Answer {
    /// Of an answer by HTTP to a request with these headers, whose values are not repeated. Headers
    /// that HTTP does not allow are left out; none where the status is no number of HTTP's.
    pub fn by_http(
        status: u16,
        headers: &[(&str, &[u8])],
        body: &[u8],
        now: jiff::Timestamp,
        sent: &Headers,
    ) -> Option<Self> {
        let pair = |(name, value): &(&str, &[u8])| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        let headers: HeaderMap = headers.iter().filter_map(pair).collect();
        let status = StatusCode::from_u16(status).ok()?;
        Some(Self::of_http(status, &headers, body, now, &Censor::of(sent)))
    }

    /// Of a status of gRPC, or of the body of an answer with code 0.
    pub fn by_grpc(code: i32, message: &str, details: &[u8], sent: &Headers) -> Self {
        let censor = Censor::of(sent);
        match Code::from_i32(code) {
            Code::Ok => Self::accepted(details, &censor),
            code => {
                let details = details.to_vec().into();
                Self::of_status(&Status::with_details(code, message, details), &censor)
            }
        }
    }

    /// Of the body of an answer that says yes. The three signals' answers differ in names only.
    pub(super) fn accepted(body: &[u8], censor: &Censor) -> Self {
        // What cannot be read was taken all the same: the status said so.
        let partial = ExportLogsServiceResponse::decode(body).unwrap_or_default().partial_success;
        let partial = partial.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_log_records).unwrap_or(0);
        let remark = Some(partial.error_message).filter(|message| !message.is_empty());
        Self::Accepted { rejected, remark: remark.map(|remark| censor.clean(&remark)) }
    }

    pub(super) fn of_status(status: &Status, censor: &Censor) -> Self {
        let wish = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let reason = censor.clean(&format!("{:?}: {}", status.code(), describe(status)));
        match status.code() {
            // Not the collector's word, but that of the connection, whatever code it was given: the
            // collector died in mid-call, say.
            _ if std::error::Error::source(status).is_some() => Self::Retry { after: None, reason },
            Code::ResourceExhausted | Code::OutOfRange if names_a_size(status.message()) => {
                Self::TooLarge { reason }
            }
            Code::ResourceExhausted if wish.is_none() => Self::Refused { reason },
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied { reason },
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Self::Retry { after: wish, reason },
            _ => Self::Refused { reason },
        }
    }

    pub(super) fn of_http(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: jiff::Timestamp,
        censor: &Censor,
    ) -> Self {
        if status.is_success() {
            return Self::accepted(body, censor);
        }
        let reason = censor.clean(&format!("HTTP {status}: {}", message_of(headers, body)));
        match status.as_u16() {
            // 407 is a proxy's.
            401 | 403 | 407 => Self::Denied { reason },
            413 => Self::TooLarge { reason },
            429 | 502 | 503 | 504 => Self::Retry { after: wish_of(headers, now), reason },
            _ => Self::Refused { reason },
        }
    }
}

/// Collectors in Go and in Rust say so in other words and with other codes.
fn names_a_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "too large", "message size", "exceeds the limit", "size limit"]
        .iter()
        .any(|words| message.contains(words))
}

/// The message, and where a connection failed, why.
fn describe(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(causes);
    match (status.message(), cause) {
        (message, None) => message.to_owned(),
        (message, Some(cause)) => format!("{message}: {cause}"),
    }
}

/// Seconds, or a date.
fn wish_of(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let said = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(said).ok()?.timestamp();
    Duration::try_from(at.duration_since(now)).ok()
}

/// A `google.rpc.Status` by the specification; text where a proxy answered.
fn message_of(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/x-protobuf"))
        && let Ok(status) = tonic_types::Status::decode(body)
    {
        return status.message;
    }
    String::from_utf8_lossy(body.get(..1024).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn kind(answer: &Answer) -> (&'static str, Option<u64>) {
        match answer {
            Answer::Accepted { .. } => ("accepted", None),
            Answer::Retry { after, .. } => ("retry", after.map(|after| after.as_secs())),
            Answer::Denied { .. } => ("denied", None),
            Answer::TooLarge { .. } => ("too large", None),
            Answer::Refused { .. } => ("refused", None),
        }
    }

    #[test]
    fn grpc_codes_mean_what_the_specification_says_but_for_credentials() {
        let of = |status: &Status| kind(&Answer::of_status(status, &Censor::default()));
        for code in (1..=16).map(Code::from_i32) {
            use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, Unavailable};
            let retried = [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss];
            let meant = match code {
                _ if retried.contains(&code) => "retry",
                Code::Unauthenticated | Code::PermissionDenied => "denied",
                _ => "refused",
            };
            assert_eq!(of(&Status::new(code, "no")), (meant, None), "{code:?}");
        }
        let info = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let status = Status::with_error_details(code, "busy", info.clone());
            assert_eq!(of(&status), ("retry", Some(7)), "{code:?}");
        }
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of(&Status::from_error(Box::new(broken))), ("retry", None));
        for (code, words) in [
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes"),
        ] {
            assert_eq!(of(&Status::new(code, words)), ("too large", None));
        }
    }

    #[test]
    fn http_statuses_mean_what_the_specification_says_but_for_credentials() {
        let now = jiff::fmt::rfc2822::parse("Wed, 21 Oct 2026 07:28:00 GMT").unwrap().timestamp();
        let of = |status: u16, after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            kind(&Answer::of_http(status, &headers, b"why", now, &Censor::default()))
        };
        assert_eq!(of(200, None), ("accepted", None));
        for status in [429, 502, 503, 504] {
            assert_eq!(of(status, None), ("retry", None));
            assert_eq!(of(status, Some("12")), ("retry", Some(12)));
            let date = Some("Wed, 21 Oct 2026 07:28:30 GMT");
            assert_eq!(of(status, date), ("retry", Some(30)));
            assert_eq!(of(status, Some("Wed, 21 Oct 2015 07:28:00 GMT")), ("retry", None));
            assert_eq!(of(status, Some("soon")), ("retry", None));
        }
        assert_eq!(of(413, None), ("too large", None));
        for status in [401, 403] {
            assert_eq!(of(status, None), ("denied", None), "{status}");
        }
        for status in [301, 400, 404, 408, 500, 501] {
            assert_eq!(of(status, None), ("refused", None), "{status}");
        }
    }

    #[test]
    fn rejected_items_and_remarks_are_read_whatever_the_signal() {
        use opentelemetry_proto::tonic::collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
        };
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "old".into() };
        let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let censor = Censor::default();
        let remark = Some("old".to_owned());
        assert_eq!(Answer::accepted(&body, &censor), Answer::Accepted { rejected: 3, remark });
        let whole = Answer::Accepted { rejected: 0, remark: None };
        for body in [&b""[..], b"\xff\xff", b"{}"] {
            assert_eq!(Answer::accepted(body, &censor), whole);
        }
    }
}

//! A collector's answers.

use std::sync::LazyLock;

use ephemon_export::Answer;
use ephemon_otel::config::{Config, Exporter, Headers};

use super::split;

/// Sent to the collector, and to be repeated by nobody.
const SECRET: &str = "hunter2-is-the-secret";
/// Most characters of a collector's words that are repeated.
const LONGEST: usize = 301;

static SENT: LazyLock<Headers> = LazyLock::new(|| {
    let (config, _) = Config::from_env(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector:4318".to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some(format!("authorization=Bearer%20{SECRET}")),
        _ => None,
    });
    match config.logs {
        Exporter::Otlp(target) => target.headers,
        other => panic!("no collector: {other:?}"),
    }
});

/// Two bytes of a status, a line for a header or a message, and the body or the details. In the answer
/// the fuzzer may repeat what it was sent, by the byte 0x01.
pub(super) fn collector(data: &[u8]) {
    let Some((status, rest)) = data.split_first_chunk() else { return };
    let status = u16::from_le_bytes(*status);
    let (words, body) = split(rest);
    let body = repeated(body);
    let by_http = |kind: &[u8]| {
        let headers = [("retry-after", words), ("content-type", kind)];
        let answer = Answer::by_http(
            100 + status % 500,
            &headers,
            &body,
            jiff::Timestamp::UNIX_EPOCH,
            &SENT,
        );
        checked(&answer.expect("a status of HTTP"));
    };
    by_http(b"text/plain");
    by_http(b"application/x-protobuf");
    let message = repeated(words);
    let message = String::from_utf8_lossy(&message);
    checked(&Answer::by_grpc(i32::from(status % 18), &message, &body, &SENT));
}

fn repeated(text: &[u8]) -> Vec<u8> {
    let word = |byte: &u8| if *byte == 1 { SECRET.as_bytes().to_vec() } else { vec![*byte] };
    text.iter().flat_map(word).collect()
}

/// One short line without what was sent.
fn checked(answer: &Answer) {
    let words = match answer {
        Answer::Accepted { remark, .. } => remark.as_deref().unwrap_or_default(),
        Answer::Retry { reason, .. }
        | Answer::Denied { reason }
        | Answer::TooLarge { reason }
        | Answer::Refused { reason } => reason,
    };
    assert!(words.chars().count() <= LONGEST, "{words}");
    assert!(!words.chars().any(char::is_control), "{words:?}");
    assert!(!words.contains(SECRET), "{words}");
}

//! One record of a container's log file: `TIME STREAM TAGS TEXT`. Pure.
//!
//! Source: containerd `internal/cri/io/logger.go`; kubernetes `cri-client/pkg/logs/logs.go`, which
//! also takes Docker's JSON records. The text is taken as it is: containerd has already dropped the
//! `\r` of a `\r\n`, and any other `\r` belongs to the line.

use std::borrow::Cow;

use ephemon_model::LogStream;
use memchr::memchr;
use serde::Deserialize;

use super::stamp;

/// A record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the runtime completed or cut the line, in nanoseconds since 1970; none if its stamp is
    /// broken, or of a time before that.
    pub time_unix_ns: Option<i64>,
    /// The output it came by.
    pub stream: LogStream,
    /// Whether the line ends here (`F`) or goes on in the stream's next record (`P`).
    pub full: bool,
    /// The text, without the newline.
    pub text: Cow<'a, [u8]>,
}

/// The bytes are no record. They are still somebody's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed<'a>(pub &'a [u8]);

/// A record of Docker's `json-file` driver.
#[derive(Deserialize)]
struct DockerRecord<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Takes a record apart, given without its newline.
pub fn parse(raw: &[u8]) -> Result<Record<'_>, Malformed<'_>> {
    cri(raw).or_else(|| docker(raw)).ok_or(Malformed(raw))
}

/// Takes a CRI record apart, also when only its beginning is given.
fn cri(raw: &[u8]) -> Option<Record<'_>> {
    let (time, rest) = word(raw)?;
    let (stream, rest) = word(rest)?;
    let stream = match stream {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    // Nothing after the tags, not even the blank: an empty line, as no runtime writes it.
    let (tags, text) = word(rest).unwrap_or((rest, &[]));
    let full = match *tags {
        [b'F'] | [b'F', b':', ..] => true,
        [b'P'] | [b'P', b':', ..] => false,
        _ => return None,
    };
    let time_unix_ns = unix_ns(time);
    Some(Record { time_unix_ns, stream, full, text: Cow::Borrowed(text) })
}

fn docker(raw: &[u8]) -> Option<Record<'_>> {
    // Looked at first: serde builds an error message for whatever else comes.
    raw.starts_with(b"{").then_some(())?;
    let record: DockerRecord<'_> = serde_json::from_slice(raw).ok()?;
    let stream = match &*record.stream {
        "stdout" => LogStream::Stdout,
        "stderr" => LogStream::Stderr,
        _ => return None,
    };
    let time_unix_ns = unix_ns(record.time.as_bytes());
    let full = record.log.ends_with('\n');
    let text = match record.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('\n').unwrap_or(text).as_bytes()),
        Cow::Owned(mut text) => {
            if full {
                text.pop();
            }
            Cow::Owned(text.into_bytes())
        }
    };
    Some(Record { time_unix_ns, stream, full, text })
}

/// A stamp's time. No container wrote anything before 1970: such a time, year 1 above all, is Go's
/// "never".
fn unix_ns(stamp: &[u8]) -> Option<i64> {
    stamp::unix_ns(stamp).filter(|ns| *ns > 0)
}

/// What stands before the first blank, and what after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // A header's words are short: a long search would only find a blank of the text.
    let at = memchr(b' ', text.get(..64).unwrap_or(text))?;
    Some((text.get(..at)?, text.get(at.saturating_add(1)..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(raw: &str) -> (LogStream, bool, String) {
        let record = parse(raw.as_bytes()).unwrap();
        (record.stream, record.full, String::from_utf8(record.text.into_owned()).unwrap())
    }

    #[test]
    fn records_of_a_runtime_are_taken_apart() {
        let cases = [
            (
                "2026-11-23T12:16:41.1Z stdout F job started",
                (LogStream::Stdout, true, "job started"),
            ),
            (
                "2026-11-23T12:16:41Z stderr P  two  blanks ",
                (LogStream::Stderr, false, " two  blanks "),
            ),
            ("2026-11-23T12:16:41+02:00 stdout F:x:y tagged", (LogStream::Stdout, true, "tagged")),
            ("2026-11-23T12:16:41Z stdout F ", (LogStream::Stdout, true, "")),
            ("2026-11-23T12:16:41Z stdout F", (LogStream::Stdout, true, "")),
            ("2026-11-23T12:16:41Z stdout F 10%\r20%\r", (LogStream::Stdout, true, "10%\r20%\r")),
        ];
        for (raw, (stream, full, text)) in cases {
            assert_eq!(record(raw), (stream, full, text.to_owned()), "{raw}");
        }
    }

    #[test]
    fn records_of_docker_are_taken_apart() {
        let raw = r#"{"log":"a \"b\"\n","stream":"stderr","time":"2026-11-23T12:16:41.5Z"}"#;
        assert_eq!(record(raw), (LogStream::Stderr, true, "a \"b\"".to_owned()));
        let raw = r#"{"log":"half","stream":"stdout","time":"2026-11-23T12:16:41.5Z","attrs":{}}"#;
        assert_eq!(record(raw), (LogStream::Stdout, false, "half".to_owned()));
    }

    #[test]
    fn what_is_no_record_is_given_back_whole() {
        for raw in [
            "",
            "no record",
            "2026-11-23T12:16:41Z stdin F x",
            "2026-11-23T12:16:41Z stdout X x",
            "2026-11-23T12:16:41Z stdout FX x",
            "2026-11-23T12:16:41Z stdout",
            r#"{"log":"x","stream":"stdout"}"#,
            r#"{"log":"x","time":"2026-11-23T12:16:41.5Z"}"#,
            r#"{"log":"x"#,
        ] {
            assert_eq!(parse(raw.as_bytes()), Err(Malformed(raw.as_bytes())), "{raw}");
        }
    }

    #[test]
    fn a_record_with_a_broken_stamp_is_a_record_without_a_time() {
        for stamp in [
            "yesterday",
            "",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
        ] {
            let docker = format!(r#"{{"log":"x\n","stream":"stdout","time":"{stamp}"}}"#);
            for raw in [format!("{stamp} stdout F x"), docker] {
                assert_eq!(parse(raw.as_bytes()).unwrap().time_unix_ns, None, "{raw}");
                assert_eq!(record(&raw), (LogStream::Stdout, true, "x".to_owned()), "{raw}");
            }
        }
    }

    #[test]
    fn the_text_need_not_be_utf8() {
        let raw = b"2026-11-23T12:16:41Z stdout F \xff\xfe\x00";
        assert_eq!(&*parse(raw).unwrap().text, b"\xff\xfe\x00");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&raw));
        }

        #[test]
        fn what_a_runtime_writes_is_read_back(
            text in prop::collection::vec(any::<u8>(), 0..300),
            full: bool,
            stderr: bool,
        ) {
            let (stream, name) =
                if stderr { (LogStream::Stderr, "stderr") } else { (LogStream::Stdout, "stdout") };
            let tag = if full { "F" } else { "P" };
            let mut raw = format!("2026-11-23T12:16:41.5Z {name} {tag} ").into_bytes();
            raw.extend(&text);
            let record = parse(&raw).unwrap();
            prop_assert_eq!((record.stream, record.full, &*record.text), (stream, full, &*text));
        }
    }
}

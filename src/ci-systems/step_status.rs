//! What Tekton's entrypoint writes into a container's termination message: when its step began, how it
//! ended. Pure.
//!
//! Source: tektoncd/pipeline, `pkg/result/result.go` (a list of `key`, `value`, `type`),
//! `pkg/entrypoint/entrypointer.go` (`StartedAt`, `ExitCode` of a failure that is ignored, `Reason`),
//! `pkg/termination/{write,parse}.go` (`tknz:` before what is compressed; of a key that stands twice the
//! last counts), `pkg/pod/status.go`: `getTerminationReason`.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ephemon_model::StepStatus;
use flate2::read::DeflateDecoder;
use serde::Deserialize;

use super::text;

/// Longest message that is read, in bytes: the kubelet cuts one at 4 KiB.
const MAX_MESSAGE: usize = 16 * 1024;
/// Longest text that a compressed one may become, in bytes.
const MAX_UNPACKED: u64 = 256 * 1024;
const COMPRESSED: &str = "tknz:";
/// The type of an entry that the entrypoint wrote for itself: what a step wrote has another one.
const INTERNAL: u8 = 3;
/// The same, as older releases wrote it.
const INTERNAL_NAME: &str = "InternalTektonResult";

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, rename = "type")]
    kind: Kind,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Kind {
    Number(u8),
    Name(String),
    #[default]
    None,
}

// === impl Entry ===

impl Entry {
    fn is_internal(&self) -> bool {
        match &self.kind {
            Kind::Number(number) => *number == INTERNAL,
            Kind::Name(name) => name == INTERNAL_NAME,
            Kind::None => false,
        }
    }
}

/// The step's record; `None` of a message that is none of the entrypoint's.
pub fn step_status(message: &str) -> Option<StepStatus> {
    if message.len() > MAX_MESSAGE {
        return None;
    }
    let unpacked;
    let message = match message.strip_prefix(COMPRESSED) {
        Some(packed) => {
            unpacked = unpack(packed)?;
            unpacked.as_str()
        }
        None => message,
    };
    let entries: Vec<Entry> = serde_json::from_str(message).ok()?;
    let last = |key: &str| {
        let own = entries.iter().rfind(|entry| entry.key == key && entry.is_internal())?;
        Some(own.value.as_str())
    };
    let started_ns = last("StartedAt").and_then(nanoseconds)?;
    let exit_code = last("ExitCode").and_then(|code| code.parse().ok());
    let reason = last("Reason").and_then(text::short);
    Some(StepStatus { started_ns, exit_code, reason })
}

/// Nanoseconds since 1970.
fn nanoseconds(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok()
}

fn unpack(packed: &str) -> Option<String> {
    let packed = STANDARD_NO_PAD.decode(packed.trim_end()).ok()?;
    let mut text = String::new();
    let mut reader = DeflateDecoder::new(packed.as_slice()).take(MAX_UNPACKED);
    reader.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20T10:00:03.250Z.
    const AT_NS: u64 = 1_795_168_803_250_000_000;

    fn status(exit_code: Option<i32>, reason: Option<&str>) -> StepStatus {
        StepStatus { started_ns: AT_NS, exit_code, reason: reason.map(Into::into) }
    }

    fn packed(text: &str) -> String {
        let mut writer = DeflateEncoder::new(Vec::new(), Compression::best());
        writer.write_all(text.as_bytes()).unwrap();
        format!("{COMPRESSED}{}", STANDARD_NO_PAD.encode(writer.finish().unwrap()))
    }

    #[test]
    fn a_message_says_when_the_step_began_and_how_it_ended() {
        let at = r#"{"key":"StartedAt","value":"2026-11-20T10:00:03.250Z","type":3}"#;
        let named = r#"{"key":"StartedAt","value":"2026-11-20T10:00:03.250Z","type":"InternalTektonResult"}"#;
        let zone = r#"{"key":"StartedAt","value":"2026-11-20T11:00:03.250+01:00","type":3}"#;
        // A step's own result of the same name.
        let fake = r#"{"key":"Reason","value":"Skipped","type":1}"#;
        let code = r#"{"key":"ExitCode","value":"17","type":3}"#;
        let skipped = r#"{"key":"Reason","value":"Skipped","type":3}"#;
        for (message, expected) in [
            (format!("[{at}]"), Some(status(None, None))),
            (format!("[{named}]"), Some(status(None, None))),
            (format!("[{zone}]"), Some(status(None, None))),
            (format!("[{at},{fake}]"), Some(status(None, None))),
            (format!("[{at},{code}]"), Some(status(Some(17), None))),
            (format!("[{at},{skipped}]"), Some(status(None, Some("Skipped")))),
            (packed(&format!("[{at},{code}]")), Some(status(Some(17), None))),
            (format!("[{fake}]"), None),
            ("tknz:!".to_owned(), None),
            ("something else".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(step_status(&message), expected, "{message}");
        }
    }

    #[test]
    fn what_unpacks_to_more_than_a_message_can_hold_is_not_read() {
        let text = format!("[{}]", " ".repeat(usize::try_from(MAX_UNPACKED).unwrap()));
        assert_eq!(step_status(&packed(&text)), None);
        assert_eq!(step_status(&" ".repeat(MAX_MESSAGE + 1)), None);
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(text in any::<String>()) {
            drop(step_status(&text));
            drop(step_status(&format!("{COMPRESSED}{text}")));
        }
    }
}

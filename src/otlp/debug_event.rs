//! Events of containers that somebody attached to a pod by hand. The resource says which container.

use super::names;
use super::record::hex;
use super::source::RECORD_ATTRIBUTES;
use super::wire::{self, Value};

/// One change; an event (`event_name`), not a line of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebugEvent<'a> {
    /// `attached`, `started` or `ended`.
    pub change: &'static str,
    /// When that was, nanoseconds since 1970; 0 if unknown.
    pub time_unix_nano: u64,
    /// When it was known.
    pub observed_unix_nano: u64,
    /// The same whenever this event is sent.
    pub uid: u128,
    /// The container whose processes it sees.
    pub target: Option<&'a str>,
    /// The first word of its command.
    pub command: Option<&'a str>,
    /// The field manager that added it.
    pub field_manager: Option<&'a str>,
    /// How long it ran, seconds.
    pub duration_s: Option<u64>,
    /// Its exit code.
    pub exit_code: Option<i32>,
}

/// `INFO`.
const SEVERITY: u64 = 9;

// === impl DebugEvent ===

impl DebugEvent<'_> {
    /// Writes the fields of a `LogRecord`.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if self.time_unix_nano != 0 {
            wire::fixed64(out, 1, self.time_unix_nano);
        }
        wire::varint(out, 2, SEVERITY);
        wire::bytes(out, 3, b"INFO");
        let mut digits = [0; 32];
        let mut put = |name: &str, value| wire::attribute(out, RECORD_ATTRIBUTES, name, value);
        put(names::LOG_RECORD_UID, Value::Text(hex(self.uid, &mut digits)));
        let texts = [
            (names::DEBUG_TARGET, self.target),
            (names::DEBUG_COMMAND, self.command),
            (names::DEBUG_FIELD_MANAGER, self.field_manager),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                put(name, Value::Text(text));
            }
        }
        if let Some(seconds) = self.duration_s {
            put(names::DEBUG_DURATION, Value::Int(i64::try_from(seconds).unwrap_or(i64::MAX)));
        }
        if let Some(code) = self.exit_code {
            put(names::PROCESS_EXIT_CODE, Value::Int(code.into()));
        }
        wire::fixed64(out, 11, self.observed_unix_nano);
        let name = format!("{}.{}", names::DEBUG_EVENT, self.change);
        wire::bytes(out, 12, name.as_bytes());
    }
}

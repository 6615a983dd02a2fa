//! The event that closes a container's log: how much of it came through.

use ephemon_contract::trace::Traceparent;
use ephemon_model::LogStream;

use super::names;
use super::record::{hex, put_span};
use super::source::{RECORD_ATTRIBUTES, Resource};
use super::wire::{self, Value};

/// What became of a log. Sent after its last line; an event (`event_name`), not a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// When it was known, in nanoseconds since 1970.
    pub observed_unix_nano: u64,
    /// The same whenever this event is sent.
    pub uid: u128,
    /// The container's span.
    pub span: Option<Traceparent>,
    /// Lines handed over.
    pub lines: u64,
    /// Bytes seen in its files, the runtime's headers included.
    pub bytes: u64,
    /// Bytes known to be lost.
    pub lost_bytes: u64,
    /// Whether every byte of it was delivered.
    pub complete: bool,
}

// === impl LogEnd ===

impl LogEnd {
    /// Writes the fields of a `LogRecord`.
    pub(super) fn put(&self, out: &mut Vec<u8>, resource: &Resource) {
        wire::fixed64(out, 1, self.observed_unix_nano);
        out.extend_from_slice(resource.common(LogStream::Unknown));
        let mut digits = [0; 32];
        let mut put = |name: &str, value| wire::attribute(out, RECORD_ATTRIBUTES, name, value);
        let int = |figure: u64| Value::Int(i64::try_from(figure).unwrap_or(i64::MAX));
        put(names::LOG_RECORD_UID, Value::Text(hex(self.uid, &mut digits)));
        put(names::LOG_LINES, int(self.lines));
        put(names::LOG_BYTES, int(self.bytes));
        put(names::LOG_LOST_BYTES, int(self.lost_bytes));
        put(names::LOG_COMPLETE, Value::Bool(self.complete));
        put_span(out, self.span);
        wire::fixed64(out, 11, self.observed_unix_nano);
        wire::bytes(out, 12, names::LOG_END.as_bytes());
    }
}

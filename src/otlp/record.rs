//! A sanitized line as a `LogRecord`.

use ephemon_contract::trace::Traceparent;
use ephemon_model::{LogFlaw, LogStream};
use ephemon_sanitize::{Place, Record};

use super::{
    names,
    source::{RECORD_ATTRIBUTES, Resource},
    wire::{self, Value},
};

/// A sanitized line and what is known of it beside.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it was written, by the runtime's stamp, in nanoseconds since 1970; 0 if unknown.
    pub time_unix_nano: u64,
    /// When it was read.
    pub observed_unix_nano: u64,
    /// Where it was written to.
    pub stream: LogStream,
    /// The same whenever this line is sent.
    pub uid: u128,
    /// The span it belongs to.
    pub span: Option<Traceparent>,
    /// Which of its log's lines, and parts of lines, it is: orders those of one time.
    pub sequence: u64,
    /// The output ended without a newline, or what followed is lost.
    pub unended: bool,
    /// Why it has no time.
    pub flaw: Option<LogFlaw>,
    /// The line.
    pub record: &'a Record<'a>,
}

/// Flags of a W3C trace context: sampled.
const SAMPLED: u32 = 1;

/// Writes the fields of a `LogRecord`.
pub(super) fn put(out: &mut Vec<u8>, resource: &Resource, entry: &Entry<'_>) {
    let record = entry.record;
    if entry.time_unix_nano != 0 {
        wire::fixed64(out, 1, entry.time_unix_nano);
    }
    if record.severity.number() != 0 {
        wire::varint(out, 2, u64::from(record.severity.number().unsigned_abs()));
        wire::bytes(out, 3, record.severity.text().as_bytes());
    }
    wire::any(out, 5, Value::of(&record.body));
    out.extend_from_slice(resource.common(entry.stream));
    put_attributes(out, entry);
    put_span(out, entry.span);
    if entry.observed_unix_nano != 0 {
        wire::fixed64(out, 11, entry.observed_unix_nano);
    }
}

/// Writes the fields that tie a `LogRecord` to a span.
pub(super) fn put_span(out: &mut Vec<u8>, span: Option<Traceparent>) {
    if let Some(span) = span {
        wire::fixed32(out, 8, SAMPLED);
        wire::bytes(out, 9, &span.trace_id.0);
        wire::bytes(out, 10, &span.span_id.0);
    }
}

fn put_attributes(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let record = entry.record;
    let mut put = |name: &str, value| wire::attribute(out, RECORD_ATTRIBUTES, name, value);
    let mut digits = [0; 32];
    put(names::LOG_RECORD_UID, Value::Text(hex(entry.uid, &mut digits)));
    put(names::LOG_SEQUENCE, Value::Int(i64::try_from(entry.sequence).unwrap_or(i64::MAX)));
    if entry.unended {
        put(names::LOG_UNENDED, Value::Bool(true));
    }
    if let Some(flaw) = entry.flaw {
        put(names::LOG_MALFORMED, Value::Text(flaw.as_str()));
    }
    if let Some(group) = &record.group {
        put(names::GITHUB_LOG_GROUP, Value::Text(group));
    }
    if let Some(command) = record.command {
        put(names::GITHUB_LOG_COMMAND, Value::Text(command.as_str()));
    }
    if let Some(place) = record.place.as_deref() {
        put_place(place, &mut put);
    }
    if let Some(original) = &record.original {
        put(names::LOG_RECORD_ORIGINAL, Value::of(original));
    }
    if record.masked > 0 {
        put(names::LOG_MASKED, Value::Int(record.masked.into()));
    }
    if record.truncated_bytes > 0 {
        let bytes = i64::try_from(record.truncated_bytes).unwrap_or(i64::MAX);
        put(names::LOG_RECORD_TRUNCATED_BYTES, Value::Int(bytes));
    }
    if let Some(why) = record.withheld {
        put(names::LOG_WITHHELD, Value::Text(why.reason()));
    }
    if record.unproven {
        put(names::LOG_UNPROVEN, Value::Bool(true));
    }
}

fn put_place<'a>(place: &'a Place, put: &mut impl FnMut(&str, Value<'a>)) {
    let texts = [(names::CODE_FILE_PATH, &place.file), (names::GITHUB_LOG_TITLE, &place.title)];
    for (name, text) in texts {
        if let Some(text) = text {
            put(name, Value::Text(text));
        }
    }
    let numbers = [
        (names::CODE_LINE_NUMBER, place.line),
        (names::CODE_COLUMN_NUMBER, place.column),
        (names::GITHUB_LOG_END_LINE, place.end_line),
        (names::GITHUB_LOG_END_COLUMN, place.end_column),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            put(name, Value::Int(number.into()));
        }
    }
}

/// 32 digits.
pub(super) fn hex(number: u128, digits: &mut [u8; 32]) -> &str {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

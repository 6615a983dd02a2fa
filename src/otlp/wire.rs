//! Protobuf written straight into a buffer: a record's parts are copied once, and not into messages
//! first. Field numbers are those of opentelemetry-proto.

use prost::encoding::{encode_varint, encoded_len_varint};

/// A field that has a length: text, bytes or a message.
const LENGTH: u32 = 2;
/// A field of eight bytes.
const FIXED64: u32 = 1;
/// A field of four.
const FIXED32: u32 = 5;

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Int(i64),
    Bool(bool),
    Texts(&'a [&'a str]),
}

// === impl Value ===

impl<'a> Value<'a> {
    /// Text where it is UTF-8, else the bytes as they are.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or(Self::Bytes(bytes), Self::Text)
    }

    /// Length of the `AnyValue`.
    fn length(self) -> usize {
        match self {
            Self::Text(text) => field_length(text.len()),
            Self::Bytes(bytes) => field_length(bytes.len()),
            Self::Int(number) => 1 + encoded_len_varint(number.cast_unsigned()),
            Self::Bool(_) => 2,
            Self::Texts(texts) => field_length(texts_length(texts)),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => bytes(out, 1, text.as_bytes()),
            Self::Bytes(value) => bytes(out, 7, value),
            Self::Int(number) => varint(out, 3, number.cast_unsigned()),
            Self::Bool(truth) => varint(out, 2, u64::from(truth)),
            Self::Texts(texts) => {
                head(out, 5, texts_length(texts));
                for text in texts {
                    head(out, 1, field_length(text.len()));
                    bytes(out, 1, text.as_bytes());
                }
            }
        }
    }
}

fn texts_length(texts: &[&str]) -> usize {
    texts.iter().map(|text| field_length(field_length(text.len()))).sum()
}

/// Length of a field with a length, whose number is below 16.
pub(super) fn field_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// The beginning of a field of `length` bytes.
pub(super) fn head(out: &mut Vec<u8>, field: u32, length: usize) {
    varint_key(out, field, LENGTH);
    encode_varint(length as u64, out);
}

/// Text, bytes, or a message that is encoded already.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// A number, 0 included.
pub(super) fn varint(out: &mut Vec<u8>, field: u32, number: u64) {
    varint_key(out, field, 0);
    encode_varint(number, out);
}

/// Eight bytes.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    varint_key(out, field, FIXED64);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Four bytes.
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, number: u32) {
    varint_key(out, field, FIXED32);
    out.extend_from_slice(&number.to_le_bytes());
}

/// An `AnyValue`.
pub(super) fn any(out: &mut Vec<u8>, field: u32, value: Value<'_>) {
    head(out, field, value.length());
    value.put(out);
}

/// A `KeyValue`.
pub(super) fn attribute(out: &mut Vec<u8>, field: u32, name: &str, value: Value<'_>) {
    head(out, field, field_length(name.len()) + field_length(value.length()));
    bytes(out, 1, name.as_bytes());
    any(out, 2, value);
}

#[expect(clippy::cast_possible_truncation, reason = "15 << 3 | 7 is 127")]
fn varint_key(out: &mut Vec<u8>, field: u32, kind: u32) {
    // Every field here has a number below 16: one byte.
    out.push((field << 3 | kind) as u8);
}

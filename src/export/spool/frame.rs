//! The format of a segment: a preamble with a salt, then records of a header and a body.
//!
//! The header has a checksum of its own, so that a damaged body costs that record only. The salt is
//! part of it: bodies are what pods wrote, and no pod can put something in there that is taken for a
//! record when the search for the next one passes over it.

use std::time::SystemTime;

use ephemon_base::clock::unix_time;

/// Size of what a segment begins with.
pub(super) const PREAMBLE_BYTES: usize = 16;
/// Size of a record's header.
pub(super) const HEADER_BYTES: usize = 40;
/// What a segment begins with: name and version of the format.
const FORMAT: [u8; 4] = *b"EPS1";
/// What a record begins with.
pub(super) const MARK: [u8; 4] = *b"\xf5rec";

/// What stands before a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) items: u32,
    pub(super) sequence: u64,
    /// Since 1970.
    pub(super) at_ms: u64,
    body_crc: u32,
    pub(super) kind: u8,
}

// === impl Header ===

impl Header {
    pub(super) fn of(kind: u8, items: u64, sequence: u64, at_ms: u64, body: &[u8]) -> Self {
        Self {
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
            items: u32::try_from(items).unwrap_or(u32::MAX),
            sequence,
            at_ms,
            body_crc: crc32c::crc32c(body),
            kind,
        }
    }

    /// Of header and body.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.length).saturating_add(HEADER_BYTES as u64)
    }

    pub(super) fn fits(&self, body: &[u8]) -> bool {
        crc32c::crc32c(body) == self.body_crc
    }

    pub(super) fn encode(&self, salt: u64) -> [u8; HEADER_BYTES] {
        let mut encoded = Vec::with_capacity(HEADER_BYTES);
        encoded.extend_from_slice(&MARK);
        encoded.extend_from_slice(&[0; 4]);
        encoded.extend_from_slice(&self.length.to_le_bytes());
        encoded.extend_from_slice(&self.items.to_le_bytes());
        encoded.extend_from_slice(&self.sequence.to_le_bytes());
        encoded.extend_from_slice(&self.at_ms.to_le_bytes());
        encoded.extend_from_slice(&self.body_crc.to_le_bytes());
        encoded.extend_from_slice(&[self.kind, 0, 0, 0]);
        let mut whole = [0; HEADER_BYTES];
        whole.copy_from_slice(&encoded);
        let crc = checksum(&whole, salt).to_le_bytes();
        if let Some(place) = whole.get_mut(4..8) {
            place.copy_from_slice(&crc);
        }
        whole
    }

    /// `None` where there is no header.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let marked = bytes.starts_with(&MARK);
        let crc = u32::from_le_bytes(part(bytes, 4)?);
        if !marked || crc != checksum(bytes, salt) {
            return None;
        }
        Some(Self {
            length: u32::from_le_bytes(part(bytes, 8)?),
            items: u32::from_le_bytes(part(bytes, 12)?),
            sequence: u64::from_le_bytes(part(bytes, 16)?),
            at_ms: u64::from_le_bytes(part(bytes, 24)?),
            body_crc: u32::from_le_bytes(part(bytes, 32)?),
            kind: *bytes.get(36)?,
        })
    }
}

/// Size in a segment of a record with a body of this length.
pub(super) fn size(body: usize) -> u64 {
    (body as u64).saturating_add(HEADER_BYTES as u64)
}

/// What a segment begins with.
pub(super) fn preamble(salt: u64) -> [u8; PREAMBLE_BYTES] {
    let mut encoded = [0; PREAMBLE_BYTES];
    let crc = crc32c::crc32c(&salt.to_le_bytes()).to_le_bytes();
    let parts = FORMAT.into_iter().chain(crc).chain(salt.to_le_bytes());
    for (place, byte) in encoded.iter_mut().zip(parts) {
        *place = byte;
    }
    encoded
}

/// The salt, if this is a segment's beginning.
pub(super) fn salt_of(bytes: &[u8]) -> Option<u64> {
    let salt: [u8; 8] = part(bytes, 8)?;
    let crc = u32::from_le_bytes(part(bytes, 4)?);
    let whole = bytes.starts_with(&FORMAT) && crc == crc32c::crc32c(&salt);
    whole.then(|| u64::from_le_bytes(salt))
}

/// Since 1970.
pub(super) fn milliseconds(at: SystemTime) -> u64 {
    let since = unix_time(at).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Of all but the mark and the checksum itself.
fn checksum(header: &[u8; HEADER_BYTES], salt: u64) -> u32 {
    let rest = header.get(8..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), rest)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.get(..N)?.try_into().ok()
}

//! ttrpc: messages with a header on a stream of bytes, put together from whatever parts they come
//! in. Pure.

use bytes::Bytes;

use super::error::Error;

/// Bytes of a message's header.
pub(super) const HEADER_BYTES: usize = 10;
/// Longest data of a message.
pub(super) const MAX_DATA_BYTES: usize = 4 << 20;
/// What is kept of the data of a message that is longer than it may be held: enough for its method.
const HEAD_BYTES: usize = 512;
/// A message that begins a call.
pub(super) const REQUEST: u8 = 1;
/// A message that ends one.
pub(super) const RESPONSE: u8 = 2;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The call that it belongs to.
    pub(super) stream: u32,
    pub(super) kind: u8,
    pub(super) data: Bytes,
    /// Only the beginning of the data is there.
    pub(super) cut: bool,
}

/// Messages being received: holds the unfinished one.
#[derive(Debug)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    max_bytes: usize,
    /// Bytes of a cut message that are still to come.
    skip: usize,
}

/// The number in four bytes, the highest first.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

// === impl Message ===

impl Message {
    pub(super) fn write(&self) -> Vec<u8> {
        let length = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let flags = 0;
        [&length.to_be_bytes()[..], &self.stream.to_be_bytes(), &[self.kind, flags], &self.data]
            .concat()
    }
}

// === impl Incoming ===

impl Incoming {
    /// Of messages with more than so many bytes of data only the beginning is held.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { buffer: Vec::new(), max_bytes, skip: 0 }
    }

    /// Adds bytes. [`Self::next`] is to be called until there is no message.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buffer.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Error> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [numbers @ .., kind, _flags] = *header;
        let (bytes, stream) = numbers.split_at(4);
        let (bytes, stream) = (number(bytes) as usize, number(stream));
        if bytes > MAX_DATA_BYTES {
            return Err(Error::Nonsense("a message is longer than 4 MiB"));
        }
        let cut = bytes > self.max_bytes;
        let held = if cut { bytes.min(HEAD_BYTES) } else { bytes };
        let whole = HEADER_BYTES + held;
        if self.buffer.len() < whole {
            // No more than it needs: a vector that grows by itself takes twice as much.
            self.buffer.reserve_exact(whole - self.buffer.len());
            return Ok(None);
        }
        let mut rest = self.buffer.split_off(whole);
        let missing = bytes - held;
        let skipped = missing.min(rest.len());
        rest.drain(..skipped);
        self.skip = missing - skipped;
        let message = std::mem::replace(&mut self.buffer, rest);
        let data = Bytes::from(message).slice(HEADER_BYTES..);
        Ok(Some(Message { stream, kind, data, cut }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(stream: u32, data: &[u8]) -> Message {
        Message { stream, kind: REQUEST, data: Bytes::copy_from_slice(data), cut: false }
    }

    #[test]
    fn messages_are_whole_however_they_are_cut() {
        let messages = [message(1, b"one"), message(3, b""), message(5, &[7; 5000])];
        let bytes = messages.iter().flat_map(Message::write).collect::<Vec<u8>>();
        for size in [1, 2, 9, 10, 11, 4096, bytes.len()] {
            let mut incoming = Incoming::new(MAX_DATA_BYTES);
            let mut read = Vec::new();
            for part in bytes.chunks(size) {
                incoming.push(part);
                while let Some(message) = incoming.next().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, messages, "by {size}");
        }
    }

    #[test]
    fn of_a_long_message_only_the_beginning_is_held_and_the_next_one_is_whole() {
        let (long, next) = (message(1, &[7; 5000]), message(3, b"next"));
        let bytes = [long.write(), next.write()].concat();
        for size in [1, 100, 4096, bytes.len()] {
            let mut incoming = Incoming::new(1000);
            let mut read = Vec::new();
            for part in bytes.chunks(size) {
                incoming.push(part);
                while let Some(message) = incoming.next().unwrap() {
                    read.push(message);
                }
                assert!(incoming.buffer.len() <= 1000 + HEADER_BYTES, "by {size}");
            }
            let head = Message { cut: true, ..message(1, &[7; HEAD_BYTES]) };
            assert_eq!(read, [head, next.clone()], "by {size}");
        }
    }

    #[test]
    fn a_longer_message_than_any_is_refused() {
        let mut incoming = Incoming::new(8);
        incoming.push(&[0x01, 0, 0, 0, 0, 0, 0, 1, REQUEST, 0]);
        assert!(matches!(incoming.next(), Err(Error::Nonsense(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut incoming = Incoming::new(64);
            incoming.push(&bytes);
            while let Ok(Some(message)) = incoming.next() {
                prop_assert!(message.data.len() <= 64 || message.cut);
            }
        }
    }
}

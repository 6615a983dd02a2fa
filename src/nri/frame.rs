//! Frames on the socket: a header with the connection's number and the length, then so many bytes of
//! that connection. Pure.

use super::call::number;
use super::error::Error;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 8;
/// Longest content of a frame: the longest message of ttrpc.
const MAX_PAYLOAD: usize = super::call::HEADER_BYTES + super::call::MAX_DATA_BYTES;
/// Longest content that is written in one frame: the runtime's buffer for what it reads of a
/// connection (`bufio.NewReader` in ttrpc's `channel.go`), into which a frame must fit
/// (`pkg/net/multiplex/mux.go`, `Read`).
pub(super) const MAX_WRITTEN: usize = 4096;
/// On which the runtime calls the plugin.
pub(super) const PLUGIN: u32 = 1;
/// On which the plugin calls the runtime.
pub(super) const RUNTIME: u32 = 2;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) connection: u32,
    pub(super) bytes: usize,
}

// === impl Header ===

impl Header {
    pub(super) fn read(header: [u8; HEADER_BYTES]) -> Result<Self, Error> {
        let (connection, bytes) = header.split_at(4);
        let bytes = number(bytes) as usize;
        if bytes > MAX_PAYLOAD {
            return Err(Error::Nonsense("a frame is longer than 4 MiB"));
        }
        Ok(Self { connection: number(connection), bytes })
    }
}

/// This content in as many frames as it needs.
pub(super) fn framed(connection: u32, content: &[u8]) -> Vec<u8> {
    let frame = |part: &[u8]| {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        [&connection.to_be_bytes(), &length.to_be_bytes(), part].concat()
    };
    content.chunks(MAX_WRITTEN).flat_map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = framed(RUNTIME, b"abc");
        let header = Header::read(frame[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(header, Header { connection: RUNTIME, bytes: 3 });
        assert_eq!(&frame[HEADER_BYTES..], b"abc");
    }

    #[test]
    fn long_content_is_written_in_frames_that_the_runtime_can_read() {
        let content: Vec<u8> = (0..=255).cycle().take(2 * MAX_WRITTEN + 7).collect();
        let mut frames = &framed(PLUGIN, &content)[..];
        let (mut sizes, mut read) = (Vec::new(), Vec::new());
        while let Some((header, rest)) = frames.split_first_chunk() {
            let header = Header::read(*header).unwrap();
            let (part, rest) = rest.split_at(header.bytes);
            sizes.push(part.len());
            read.extend_from_slice(part);
            frames = rest;
        }
        assert_eq!((sizes, read), (vec![MAX_WRITTEN, MAX_WRITTEN, 7], content));
    }

    #[test]
    fn a_longer_frame_than_any_message_is_refused() {
        let most = u32::try_from(MAX_PAYLOAD).unwrap();
        let read = |bytes: u32| {
            let header = [1_u32.to_be_bytes(), bytes.to_be_bytes()].concat();
            Header::read(header.try_into().unwrap())
        };
        assert!(read(most).is_ok());
        assert!(matches!(read(most + 1), Err(Error::Nonsense(_))));
    }
}

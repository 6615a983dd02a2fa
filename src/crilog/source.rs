//! The text of one file of a container's log, as if it were never compressed.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;
use memchr::memchr;

use super::head::{END_BYTES, HEAD_BYTES, Head, MAX_LINE_BYTES};
use super::hole;

/// A file's first line is looked for behind so many NUL bytes at most.
const MAX_BLANK: u64 = 16 * 1024 * 1024;

/// Looked through at once for the first byte that is none.
const BLANK_BYTES: usize = 16 * 1024;

/// The file's text, as if it were never compressed.
#[derive(Debug)]
pub(super) enum Source {
    Plain(File),
    Packed(Box<Unpacker>),
}

/// Reads a `.gz` forward, a window at a time. What that takes of memory it has while it is being read
/// only: see [`Source::rest`].
#[derive(Debug)]
pub(super) struct Unpacker {
    file: File,
    decoder: Option<MultiGzDecoder<File>>,
    window: Vec<u8>,
    /// Where the window begins in the text.
    window_at: u64,
    over: bool,
}

// === impl Source ===

impl Source {
    /// Takes a file, compressed or not.
    pub(super) fn new(file: File, packed: bool) -> Self {
        if !packed {
            return Self::Plain(file);
        }
        let (decoder, window, window_at) = (None, Vec::new(), 0);
        Self::Packed(Box::new(Unpacker { file, decoder, window, window_at, over: false }))
    }

    /// Lets go of what a compressed file takes of memory. Read on later, it is unpacked from its
    /// beginning.
    pub(super) fn rest(&mut self) {
        if let Self::Packed(unpacker) = self {
            (unpacker.decoder, unpacker.window) = (None, Vec::new());
            (unpacker.window_at, unpacker.over) = (0, false);
        }
    }

    /// Whether it takes no memory.
    #[cfg(test)]
    pub(super) fn is_resting(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Packed(unpacker) => unpacker.decoder.is_none() && unpacker.window.capacity() == 0,
        }
    }

    /// Fills `buffer` from `offset` on, less only at the end.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => loop {
                match file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            },
            Self::Packed(unpacker) => unpacker.read_at(buffer, offset),
        }
    }

    /// The head of the line that begins there: without its end as long as that is not there, and nothing
    /// as long as it says too little.
    pub(super) fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        let mut line = self.bytes(at, HEAD_BYTES)?;
        let start = Head::of(&line).map(|head| head.behind(at));
        if !Head::needs_end(&line) {
            return Ok(start);
        }
        while line.len() < MAX_LINE_BYTES {
            let more = self.bytes(at.saturating_add(line.len() as u64), BLANK_BYTES)?;
            if more.is_empty() {
                break;
            }
            if let Some(end) = memchr(b'\n', &more) {
                line.extend(more.get(..=end).unwrap_or_default());
                return Ok(Some(Head::of_line(&line).behind(at)));
            }
            line.extend(more);
        }
        Ok(start)
    }

    /// Whether the line that the head is of stands here, too.
    pub(super) fn has(&mut self, head: &Head) -> io::Result<bool> {
        let start = self.bytes(head.at, HEAD_BYTES)?;
        let end = match head.end() {
            Some(end) => self.bytes(end, END_BYTES)?,
            None => Vec::new(),
        };
        Ok(head.matches(&start, &end))
    }

    /// Whether a line goes on at `offset`: neither the file nor a line before ends in front of it, or of
    /// the NUL bytes there.
    pub(super) fn is_in_line(&mut self, offset: u64) -> io::Result<bool> {
        let from = offset.saturating_sub(BLANK_BYTES as u64);
        let length = usize::try_from(offset.saturating_sub(from)).unwrap_or(BLANK_BYTES);
        let before = self.bytes(from, length)?;
        Ok(match hole::trim_end(&before).last() {
            Some(last) => *last != b'\n',
            None => from > 0,
        })
    }

    /// So many bytes from there on, less only at the end.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let length = self.read_at(&mut bytes, at)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Where the first byte behind `from` is that is not NUL, or where the bound or the file ends.
    pub(super) fn first_text(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        let mut buffer = Vec::new();
        while at < MAX_BLANK {
            // Nearly always the first byte is it.
            let wanted = if at == 0 { HEAD_BYTES } else { BLANK_BYTES };
            buffer.resize(wanted, 0);
            let length = self.read_at(&mut buffer, at)?;
            let read = buffer.get(..length).unwrap_or_default();
            let blank = hole::leading(read);
            at = at.saturating_add(blank as u64);
            if blank < read.len() || length < wanted {
                break;
            }
        }
        Ok(at)
    }
}

// === impl Unpacker ===

impl Unpacker {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let decoder = match &mut self.decoder {
            Some(decoder) if offset >= self.window_at => decoder,
            stale => {
                self.file.rewind()?;
                (self.window_at, self.over) = (0, false);
                self.window.clear();
                stale.insert(MultiGzDecoder::new(self.file.try_clone()?))
            }
        };
        loop {
            let passed = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
            let passed = passed.min(self.window.len());
            self.window.drain(..passed);
            self.window_at += passed as u64;
            if self.over || (self.window_at == offset && self.window.len() >= buffer.len()) {
                break;
            }
            let wanted = buffer.len().saturating_sub(self.window.len()).max(HEAD_BYTES);
            let taken = decoder.by_ref().take(wanted as u64).read_to_end(&mut self.window)?;
            self.over = taken == 0;
        }
        if self.window_at != offset {
            return Ok(0);
        }
        let length = buffer.len().min(self.window.len());
        for (to, from) in buffer.iter_mut().zip(&self.window) {
            *to = *from;
        }
        Ok(length)
    }
}

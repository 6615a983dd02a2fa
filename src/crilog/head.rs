//! What a log file begins with: it stays the same through rename, compression and growth.

use memchr::memchr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a file is looked at for its first line.
pub(super) const HEAD_BYTES: usize = 1024;

/// How much of a longer line's end is looked at, where its time stands there.
pub(super) const END_BYTES: usize = 64;

/// How far that end is looked for: Docker splits lines at 16 KiB, of which JSON makes six times as much
/// at most.
pub(super) const MAX_LINE_BYTES: usize = 128 * 1024;

/// The first line of a file, or as much of it as is looked at.
///
/// A record of CRI begins with a time of nanoseconds and one of Docker ends with it, so no two files of
/// a container share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The first eight bytes of the SHA-256 of its first bytes.
    hash: u64,
    length: u32,
    /// Where it begins: behind the NUL bytes that the file begins with.
    #[serde(default)]
    pub(super) at: u64,
    /// Where the line's end is looked at, too. An older agent passes over it, and knows the file by the
    /// rest.
    #[serde(default)]
    end: Option<LineEnd>,
}

/// The end of a line of which the beginning alone says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LineEnd {
    /// Length of the whole line, with its newline.
    line: u64,
    /// The first eight bytes of the SHA-256 of its last [`END_BYTES`].
    hash: u64,
}

// === impl Head ===

impl Head {
    /// Of a file's first bytes; nothing as long as the line is not whole.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let start = start.get(..HEAD_BYTES).unwrap_or(start);
        match memchr(b'\n', start) {
            Some(end) => start.get(..=end).map(Self::exactly),
            None => (start.len() == HEAD_BYTES).then(|| Self::exactly(start)),
        }
    }

    /// Whether these first bytes do not tell files apart: the line is longer, and its time stands at its
    /// end.
    pub(super) fn needs_end(start: &[u8]) -> bool {
        start.len() >= HEAD_BYTES && start.starts_with(b"{") && memchr(b'\n', start).is_none()
    }

    /// Of a line of which both ends are looked at; `line`: with its newline.
    pub(super) fn of_line(line: &[u8]) -> Self {
        let start = line.get(..HEAD_BYTES).unwrap_or(line);
        let end = line.get(line.len().saturating_sub(END_BYTES)..).unwrap_or_default();
        let end = LineEnd { line: line.len() as u64, hash: hash(end) };
        Self { end: Some(end), ..Self::exactly(start) }
    }

    /// Of a file that ends before its first line does.
    pub(super) fn exactly(start: &[u8]) -> Self {
        let length = u32::try_from(start.len()).unwrap_or(u32::MAX);
        Self { hash: hash(start), length, at: 0, end: None }
    }

    /// The same, found behind so many NUL bytes.
    pub(super) fn behind(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// Where the line's end is that is looked at, if it is.
    pub(super) fn end(&self) -> Option<u64> {
        let end = self.end?.line.checked_sub(END_BYTES as u64)?;
        Some(self.at.saturating_add(end))
    }

    /// The same with the line's end, once `whole` has it: nothing else may have changed.
    pub(super) fn completed(self, whole: Self) -> Self {
        if (Self { end: self.end, ..whole }) == self { whole } else { self }
    }

    /// Stands for the line in the ids of the file's lines.
    pub(super) fn id(&self) -> u64 {
        self.hash ^ self.end.map_or(0, |end| end.hash)
    }

    /// Whether a file that has this at the same place can be the same one; `end`: what it has at
    /// [`Self::end`].
    pub(super) fn matches(&self, start: &[u8], end: &[u8]) -> bool {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let has_start = start.get(..length).is_some_and(|start| hash(start) == self.hash);
        has_start && self.end.is_none_or(|known| hash(end) == known.hash)
    }
}

/// The first eight bytes of the SHA-256.
fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(text: &str, time: &str) -> String {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
    }

    fn matches(head: &Head, file: &str) -> bool {
        let file = file.as_bytes();
        let end = head.end().map_or(&[][..], |end| {
            let rest = &file[usize::try_from(end).unwrap().min(file.len())..];
            &rest[..rest.len().min(END_BYTES)]
        });
        head.matches(&file[..file.len().min(HEAD_BYTES)], end)
    }

    #[test]
    fn long_lines_of_docker_are_told_apart_by_their_ends() {
        let text = "x".repeat(HEAD_BYTES);
        let [one, two] =
            ["41.1Z", "41.2Z"].map(|end| docker(&text, &format!("2026-11-23T12:16:{end}")));
        assert!(Head::needs_end(&one.as_bytes()[..HEAD_BYTES]));
        let head = Head::of_line(one.as_bytes());
        assert!(matches(&head, &one) && matches(&head, &format!("{one}{two}")));
        assert!(!matches(&head, &two) && !matches(&head, one.trim_end()));
        assert_ne!(head.id(), Head::of_line(two.as_bytes()).id());
    }

    #[test]
    fn an_agent_that_knows_lines_by_their_beginning_alone_knows_a_long_one_again() {
        /// As such an agent has it.
        #[derive(Deserialize)]
        struct Older {
            hash: u64,
            length: u32,
            at: u64,
        }
        let line = docker(&"x".repeat(HEAD_BYTES), "2026-11-23T12:16:41.1Z");
        let saved = serde_json::to_string(&Head::of_line(line.as_bytes()).behind(5)).unwrap();
        let Older { hash, length, at } = serde_json::from_str(&saved).unwrap();
        let start = &line.as_bytes()[..HEAD_BYTES];
        assert_eq!((hash, length, at), (super::hash(start), 1024, 5));
    }

    #[test]
    fn what_such_an_agent_saved_is_known_again() {
        let line = docker(&"x".repeat(HEAD_BYTES), "2026-11-23T12:16:41.1Z");
        let hash = hash(&line.as_bytes()[..HEAD_BYTES]);
        let saved = format!(r#"{{"hash":{hash},"length":1024,"at":0}}"#);
        let head: Head = serde_json::from_str(&saved).unwrap();
        assert!(head.end().is_none() && matches(&head, &line));
    }

    #[test]
    fn other_lines_are_known_by_their_first_bytes() {
        let cri = format!("2026-11-23T12:16:41.1Z stdout F {}", "x".repeat(HEAD_BYTES));
        let short = docker("x", "2026-11-23T12:16:41.1Z");
        for file in [&cri, &short] {
            let start = &file.as_bytes()[..file.len().min(HEAD_BYTES)];
            assert!(!Head::needs_end(start));
            let head = Head::of(start).unwrap();
            assert_eq!(head.end(), None);
            assert!(matches(&head, file) && !matches(&head, &file.replace("41.1", "41.2")));
        }
    }
}

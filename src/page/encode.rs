//! JSON texts with a bound: what would be longer is not written to its end.

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;

/// The largest answer, bytes. The samples of 32 containers and a job of some 2000 parts fit; what is
/// larger is shown with fewer of them.
pub const MAX_ANSWER_BYTES: usize = 3 * 512 * 1024;

/// The value as JSON; `None` if that is longer than an answer may be.
pub(crate) fn encode(value: &impl Serialize) -> Option<Bytes> {
    let mut text = Bounded { text: Vec::new(), most: MAX_ANSWER_BYTES };
    serde_json::to_writer(&mut text, value).ok()?;
    // An answer may be read slowly: it keeps no more memory than its text.
    Some(text.text.into_boxed_slice().into())
}

/// A text of at most so many bytes.
struct Bounded {
    text: Vec<u8>,
    most: usize,
}

// === impl Bounded ===

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len().saturating_add(bytes.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_none() {
        assert_eq!(encode(&"x".repeat(MAX_ANSWER_BYTES - 2)).unwrap().len(), MAX_ANSWER_BYTES);
        assert_eq!(encode(&"x".repeat(MAX_ANSWER_BYTES - 1)), None);
        // Each is six characters in JSON.
        assert_eq!(encode(&"\u{1}".repeat(MAX_ANSWER_BYTES / 4)), None);
    }
}

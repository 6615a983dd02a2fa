//! Texts, or bytes of protobuf, on their way to scrapers. Each has memory of its own, which is freed once it
//! is read: a text kept for the next scrape would be half a megabyte on a full node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;

/// Most memory of the texts that are lent when another one is begun.
pub const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Counts the memory of the texts that are being read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(Arc<AtomicUsize>);

/// A text until its last reader is done.
struct Lent {
    text: Vec<u8>,
    texts: Texts,
}

// === impl Texts ===

impl Texts {
    /// Whether those who read slowly have so many that no further one is to be begun.
    pub(super) fn is_full(&self) -> bool {
        self.lent() >= MAX_TEXT_BYTES
    }

    /// Lends a text out as the bytes it is, without a copy.
    pub(super) fn lend(&self, text: Vec<u8>) -> Bytes {
        self.0.fetch_add(text.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Lent { text, texts: self.clone() })
    }

    fn lent(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Lent ===

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.texts.0.fetch_sub(self.text.capacity(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_read_slowly_are_bounded_in_bytes() {
        let texts = Texts::default();
        let page = || b"x".repeat(MAX_TEXT_BYTES / 4);
        let mut lent = Vec::new();
        while !texts.is_full() {
            lent.push(texts.lend(page()));
        }
        assert_eq!(lent.len(), 4);
        assert_eq!(&lent[0][..2], b"xx");
        lent.pop();
        assert!(!texts.is_full());
        drop(lent);
        assert_eq!(texts.lent(), 0);
    }
}

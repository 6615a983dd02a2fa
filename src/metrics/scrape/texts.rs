//! Texts, or bytes of protobuf, that are written into again: a scrape of a megabyte costs no fresh pages each time.

use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use hyper::body::Bytes;

/// Texts kept for the next scrapes: two, as Prometheus often comes in pairs.
const SPARE: usize = 2;
/// Most memory of the texts that are lent when another one is begun.
pub const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// The texts nobody reads now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(Arc<Mutex<Stock>>);

#[derive(Debug, Default)]
struct Stock {
    spare: Vec<Vec<u8>>,
    /// Memory of those that are lent.
    lent: usize,
}

/// A text that comes back when the last reader is done.
struct Lent {
    text: Vec<u8>,
    texts: Texts,
}

// === impl Texts ===

impl Texts {
    /// Whether those who read slowly have so many that no further one is to be begun.
    pub(super) fn is_full(&self) -> bool {
        self.stock().lent >= MAX_TEXT_BYTES
    }

    /// An empty text, with room if one was there before.
    pub(super) fn take(&self) -> Vec<u8> {
        self.stock().spare.pop().unwrap_or_default()
    }

    /// Lends a text out as the bytes it is, without a copy.
    pub(super) fn lend(&self, text: Vec<u8>) -> Bytes {
        let mut stock = self.stock();
        stock.lent = stock.lent.saturating_add(text.capacity());
        drop(stock);
        Bytes::from_owner(Lent { text, texts: self.clone() })
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        lock(&self.0)
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
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let mut stock = self.texts.stock();
        stock.lent = stock.lent.saturating_sub(text.capacity());
        let kept: usize = stock.spare.iter().map(Vec::capacity).sum();
        if stock.spare.len() < SPARE && kept.saturating_add(text.capacity()) <= MAX_TEXT_BYTES / 2 {
            stock.spare.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_into_again_once_it_is_read() {
        let texts = Texts::default();
        let mut text = texts.take();
        text.extend_from_slice(b"a series");
        let place = text.as_ptr();
        let lent = texts.lend(text);
        assert_eq!(&lent[..], b"a series");
        assert_eq!(texts.take().capacity(), 0, "it is still being read");
        drop(lent);
        let text = texts.take();
        assert_eq!((text.as_ptr(), text.len()), (place, 0));
    }

    #[test]
    fn no_more_are_kept_than_are_of_use() {
        let texts = Texts::default();
        let lent: Vec<_> = (0..9).map(|_| texts.lend(b"text".to_vec())).collect();
        drop(lent);
        assert_eq!(texts.stock().spare.len(), SPARE);
        assert_eq!(texts.stock().lent, 0);
    }

    #[test]
    fn texts_that_are_read_slowly_are_bounded_in_bytes() {
        let texts = Texts::default();
        let page = || b"x".repeat(MAX_TEXT_BYTES / 4);
        let mut lent = Vec::new();
        while !texts.is_full() {
            lent.push(texts.lend(page()));
        }
        assert_eq!(lent.len(), 4);
        lent.pop();
        assert!(!texts.is_full());
        drop(lent);
        let kept: usize = texts.stock().spare.iter().map(Vec::capacity).sum();
        assert!(kept <= MAX_TEXT_BYTES / 2, "{kept}");
    }
}

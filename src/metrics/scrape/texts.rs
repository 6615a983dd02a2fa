//! Texts that are written into again: a scrape of a megabyte costs no fresh pages each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;

/// Texts kept for the next scrapes: two, as Prometheus often comes in pairs.
const SPARE: usize = 2;

/// The texts nobody reads now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(Arc<Mutex<Vec<String>>>);

/// A text that comes back when the last reader is done.
struct Lent {
    text: String,
    texts: Texts,
}

// === impl Texts ===

impl Texts {
    /// An empty text, with room if one was there before.
    pub(super) fn take(&self) -> String {
        self.spare().pop().unwrap_or_default()
    }

    /// Lends a text out as the bytes it is, without a copy.
    pub(super) fn lend(&self, text: String) -> Bytes {
        Bytes::from_owner(Lent { text, texts: self.clone() })
    }

    fn spare(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lent ===

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let mut spare = self.texts.spare();
        if spare.len() < SPARE {
            spare.push(text);
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
        text.push_str("a series");
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
        let lent: Vec<_> = (0..9).map(|_| texts.lend("text".to_owned())).collect();
        drop(lent);
        assert_eq!(texts.spare().len(), SPARE);
    }
}

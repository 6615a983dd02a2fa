//! The open groups in a container's output, from `::group::` and `::endgroup::`.

use std::sync::Arc;

/// Deeper groups are counted, but their titles are not stored.
const MAX_DEPTH: usize = 8;
/// Most bytes of a title.
const MAX_TITLE_BYTES: usize = 256;
/// Most bytes of all titles.
pub(super) const MAX_BYTES: usize = MAX_DEPTH * MAX_TITLE_BYTES;

/// The open groups, with masked titles.
#[derive(Debug, Default)]
pub(super) struct Groups {
    titles: Vec<String>,
    /// Number of open groups below the deepest stored one.
    deeper: u32,
    path: Option<Arc<str>>,
}

// === impl Groups ===

impl Groups {
    pub(super) fn open(&mut self, title: &[u8]) {
        if self.titles.len() >= MAX_DEPTH {
            self.deeper = self.deeper.saturating_add(1);
            return;
        }
        self.titles.push(bounded(title, MAX_TITLE_BYTES));
        self.renew();
    }

    pub(super) fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if self.titles.pop().is_some() {
            self.renew();
        }
    }

    /// The titles of the open groups, joined.
    pub(super) fn path(&self) -> Option<Arc<str>> {
        self.path.clone()
    }

    /// Masks every title again, because there are new values.
    pub(super) fn mask(&mut self, mut mask: impl FnMut(&[u8]) -> Vec<u8>) {
        for title in &mut self.titles {
            *title = bounded(&mask(title.as_bytes()), MAX_TITLE_BYTES);
        }
        self.renew();
    }

    fn renew(&mut self) {
        self.path = (!self.titles.is_empty()).then(|| self.titles.join(" / ").into());
    }
}

/// The text as UTF-8, truncated to `most` bytes.
pub(super) fn bounded(text: &[u8], most: usize) -> String {
    let mut text = String::from_utf8_lossy(text.get(..most).unwrap_or(text)).into_owned();
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_nest_to_a_bound_and_close_in_turn() {
        let mut groups = Groups::default();
        groups.close();
        assert_eq!(groups.path(), None);
        groups.open(b"a");
        groups.open("é".repeat(300).as_bytes());
        assert_eq!(groups.path().map(|path| path.len()), Some(1 + 3 + 256));
        for _ in 0..20 {
            groups.open(b"x");
        }
        for _ in 0..20 {
            groups.close();
        }
        groups.close();
        assert_eq!(groups.path().as_deref(), Some("a"));
    }
}

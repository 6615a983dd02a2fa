//! A line that is being converted to a record.

use std::borrow::Cow;

use ephemon_mask::workflow_command::Name;

use super::{Place, redactor::LOOK_AHEAD_BYTES};

/// A text that is being converted to a body.
pub(super) struct Draft<'a> {
    pub text: Cow<'a, [u8]>,
    /// Where in `text` the body must end at the latest; bytes after it count as truncated.
    pub cut: usize,
    pub cut_bytes: usize,
    pub command: Option<Name>,
    pub place: Option<Box<Place>>,
    pub original: Option<Vec<u8>>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// A body of at most `most` bytes.
    pub(super) fn of(text: &'a [u8], most: usize) -> Self {
        let window = text.get(..most.saturating_add(LOOK_AHEAD_BYTES)).unwrap_or(text);
        Self {
            text: Cow::Borrowed(window),
            cut: most,
            cut_bytes: text.len() - window.len(),
            command: None,
            place: None,
            original: None,
        }
    }

    pub(super) fn into_owned(self) -> Draft<'static> {
        Draft { text: Cow::Owned(self.text.into_owned()), ..self }
    }
}

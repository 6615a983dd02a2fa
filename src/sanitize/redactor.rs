//! Removes secrets and terminal controls from a text.

use std::{borrow::Cow, ops::Range, sync::Arc};

use ephemon_mask::patterns::Pem;
use ephemon_mask::{Matcher, merge, patterns, replace, work_for};

use super::{Withheld, ansi};

/// How many bytes after the end of a body are searched, so that a secret that begins in it is found
/// completely.
pub(super) const LOOK_AHEAD_BYTES: usize = 4096;
/// Redacts with the values that are known when it is created.
pub(super) struct Redactor<'a> {
    /// `None` in raw mode: nothing is masked.
    matcher: Option<Arc<Matcher>>,
    found: &'a mut Vec<Range<usize>>,
    /// Number of masked parts so far.
    pub masked: u32,
    /// Remaining budget of the search for values, for all searches in the text together.
    work: usize,
}

/// A text that may be shown.
#[derive(Debug)]
pub(super) struct Redacted<'a> {
    pub text: Cow<'a, [u8]>,
    /// How much of the input it covers.
    pub taken: usize,
}

// === impl Redactor ===

impl<'a> Redactor<'a> {
    /// For a text of this many bytes.
    pub(super) fn new(
        matcher: Option<Arc<Matcher>>,
        found: &'a mut Vec<Range<usize>>,
        bytes: usize,
    ) -> Self {
        Self { matcher, found, masked: 0, work: work_for(bytes) }
    }

    /// The text with values masked, before other changes, which could split a value.
    pub(super) fn values<'t>(&mut self, text: &'t [u8]) -> Result<Cow<'t, [u8]>, Withheld> {
        self.found.clear();
        self.find_values(text)?;
        Ok(self.replaced(text, text.len()).text)
    }

    /// The text without values and tokens, up to what begins before `cut`.
    pub(super) fn all<'t>(
        &mut self,
        text: &'t [u8],
        cut: usize,
        pem: &mut Pem,
    ) -> Result<Redacted<'t>, Withheld> {
        self.found.clear();
        if self.matcher.is_some() {
            self.find_values(text)?;
            patterns::find(text, pem, self.found);
        }
        Ok(self.replaced(text, cut))
    }

    /// Like [`Redactor::all`], but continues to borrow from the line if possible. Returns how much
    /// of it was used.
    pub(super) fn body<'t>(
        &mut self,
        text: Cow<'t, [u8]>,
        cut: usize,
        pem: &mut Pem,
    ) -> Result<(Cow<'t, [u8]>, usize), Withheld> {
        match text {
            Cow::Borrowed(text) => {
                let clean = self.all(text, cut, pem)?;
                Ok((clean.text, clean.taken))
            }
            Cow::Owned(text) => {
                let clean = self.all(&text, cut, pem)?;
                Ok((Cow::Owned(clean.text.into_owned()), clean.taken))
            }
        }
    }

    /// A short text that is not a line of the stream, such as a title: without terminal controls,
    /// masked.
    pub(super) fn aside(&mut self, text: &[u8]) -> Result<Vec<u8>, Withheld> {
        let masked = self.values(text)?;
        let stripped = strip(&masked);
        let clean = self.all(&stripped, stripped.len(), &mut Pem::default())?;
        Ok(clean.text.into_owned())
    }

    fn find_values(&mut self, text: &[u8]) -> Result<(), Withheld> {
        let Some(matcher) = self.matcher.as_deref().filter(|matcher| !matcher.is_empty()) else {
            return Ok(());
        };
        matcher.find(text, self.found, &mut self.work).map_err(|_| Withheld::TooMuchWork)
    }

    /// The text up to `cut`, or to the end of a secret that spans it, with asterisks in place of
    /// what was found.
    fn replaced<'t>(&mut self, text: &'t [u8], cut: usize) -> Redacted<'t> {
        merge(self.found);
        let kept = self.found.partition_point(|range| range.start < cut);
        self.found.truncate(kept);
        let last = self.found.last().map_or(0, |range| range.end);
        let taken = last.max(char_start(text, cut));
        let text = text.get(..taken).unwrap_or(text);
        if self.found.is_empty() {
            return Redacted { text: Cow::Borrowed(text), taken };
        }
        self.masked = self.masked.saturating_add(u32::try_from(kept).unwrap_or(u32::MAX));
        let mut out = Vec::with_capacity(text.len());
        replace(text, self.found, &mut out);
        Redacted { text: Cow::Owned(out), taken }
    }
}

/// The text without escape sequences; borrowed if there are none.
pub(super) fn strip(text: &[u8]) -> Cow<'_, [u8]> {
    if ansi::has_escape(text) { Cow::Owned(ansi::strip(text)) } else { Cow::Borrowed(text) }
}

/// `cut`, or up to three bytes before it, so that no character is split.
fn char_start(text: &[u8], cut: usize) -> usize {
    let cut = cut.min(text.len());
    let inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (cut.saturating_sub(3)..=cut).rev().find(|at| !inside(*at)).unwrap_or(cut)
}

//! The values that must not stand in the container's log, shared by all steps of a container, and
//! the search for them.

mod encode;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Most values: a job with more secrets than this is told so, and its log withheld.
const MAX_VALUES: usize = 4096;
/// Most bytes of all values together, encodings not counted.
const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// What stands in a secret's place.
const STARS: &[u8] = b"***";

/// More values than init keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_VALUES} values or {MAX_VALUE_BYTES} bytes to mask")]
pub(super) struct TooMany;

/// The container's masks. Cheap to clone; every clone is the same set.
#[derive(Debug, Clone, Default)]
pub(super) struct Masks(Arc<Mutex<Set>>);

#[derive(Debug, Default)]
struct Set {
    values: HashSet<Vec<u8>>,
    bytes: usize,
    overflowed: bool,
    matcher: Arc<Matcher>,
}

/// All forms of all values, found by their first byte or two.
#[derive(Debug, Clone, Default)]
pub(super) struct Matcher {
    /// Forms by their first two bytes, longest first.
    pairs: HashMap<[u8; 2], Vec<Vec<u8>>>,
    /// Which first bytes any form has: most positions of most output are passed over by this.
    firsts: Firsts,
    /// Forms of one byte.
    singles: Vec<u8>,
    longest: usize,
}

#[derive(Debug, Clone)]
struct Firsts([bool; 256]);

impl Default for Firsts {
    fn default() -> Self {
        Self([false; 256])
    }
}

// === impl Masks ===

impl Masks {
    /// Adds values. Beyond the limit nothing more is kept, and [`Masks::matcher`] says so: what
    /// cannot be masked must not be written.
    pub(super) fn add<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), TooMany> {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in values {
            if value.trim_ascii().is_empty() || set.values.contains(value) {
                continue;
            }
            set.bytes = set.bytes.saturating_add(value.len());
            if set.values.len() >= MAX_VALUES || set.bytes > MAX_VALUE_BYTES {
                set.overflowed = true;
                break;
            }
            set.values.insert(value.to_vec());
            // Copied only while a step is in the middle of a line.
            let matcher = Arc::make_mut(&mut set.matcher);
            for form in encode::forms(value) {
                matcher.add(form);
            }
        }
        if set.overflowed { Err(TooMany) } else { Ok(()) }
    }

    /// What to search with now; none when there were more values than could be kept.
    pub(super) fn matcher(&self) -> Option<Arc<Matcher>> {
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!set.overflowed).then(|| Arc::clone(&set.matcher))
    }

    /// How many values there are.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values.len()
    }
}

// === impl Matcher ===

impl Matcher {
    fn add(&mut self, form: Vec<u8>) {
        let Some(first) = form.first().copied() else { return };
        if let Some(slot) = self.firsts.0.get_mut(usize::from(first)) {
            *slot = true;
        }
        self.longest = self.longest.max(form.len());
        match form.first_chunk::<2>().copied() {
            Some(pair) => {
                let forms = self.pairs.entry(pair).or_default();
                let order = |known: &Vec<u8>| form.len().cmp(&known.len()).then(known.cmp(&form));
                if let Err(place) = forms.binary_search_by(order) {
                    forms.insert(place, form);
                }
            }
            None => self.singles.push(first),
        }
    }

    /// Length of the longest form.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Copies `text` to `out` with every match replaced; matches that overlap or touch become one.
    pub(super) fn mask(&self, text: &[u8], out: &mut Vec<u8>) {
        self.mask_until(text, text.len(), out);
    }

    /// Like [`Matcher::mask`] for matches that begin before `cut`. Returns where it stopped: at the
    /// cut, or behind the match that spans it.
    pub(super) fn mask_until(&self, text: &[u8], cut: usize, out: &mut Vec<u8>) -> usize {
        let mut clean_from = 0;
        let mut at = 0;
        while at < cut {
            let Some(mut end) = self.match_end(text, at) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(text.get(clean_from..at).unwrap_or_default());
            // A longer match may begin inside this one.
            at += 1;
            while at <= end {
                if let Some(further) = self.match_end(text, at) {
                    end = end.max(further);
                }
                at += 1;
            }
            out.extend_from_slice(STARS);
            clean_from = end;
            at = end;
        }
        let stop = at.max(cut).min(text.len());
        out.extend_from_slice(text.get(clean_from..stop).unwrap_or_default());
        stop
    }

    /// The end of the longest match at `at`.
    fn match_end(&self, text: &[u8], at: usize) -> Option<usize> {
        let first = text.get(at)?;
        if !self.firsts.0.get(usize::from(*first)).is_some_and(|known| *known) {
            return None;
        }
        let rest = text.get(at..)?;
        let longest = rest
            .first_chunk::<2>()
            .and_then(|pair| self.pairs.get(pair))
            .and_then(|forms| forms.iter().find(|form| rest.starts_with(form)));
        match longest {
            Some(form) => Some(at + form.len()),
            None => self.singles.contains(first).then_some(at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(values: &[&str], text: &str) -> String {
        let masks = Masks::default();
        masks.add(values.iter().map(|value| value.as_bytes())).expect("few");
        let mut out = Vec::new();
        masks.matcher().expect("few").mask(text.as_bytes(), &mut out);
        String::from_utf8(out).expect("utf-8")
    }

    #[test]
    fn matches_are_replaced_and_overlapping_ones_become_one() {
        assert_eq!(masked(&["secret"], "a secret b"), "a *** b");
        assert_eq!(masked(&["abcdef", "defghi"], "x abcdefghi y"), "x *** y");
        assert_eq!(masked(&["abc", "abcdef"], "abcdef abc"), "*** ***");
        assert_eq!(masked(&["abc"], "abcabc"), "***");
        assert_eq!(masked(&["x"], "axb"), "a***b");
        assert_eq!(masked(&[], "nothing"), "nothing");
        assert_eq!(masked(&["pässwörd"], "mein pässwörd!"), "mein ***!");
        assert_eq!(masked(&["hunter2-hunter2"], "b64 aHVudGVyMi1odW50ZXIy"), "b64 ***");
    }

    #[test]
    fn beyond_the_limit_nothing_may_be_written() {
        let masks = Masks::default();
        let values: Vec<String> = (0..=MAX_VALUES).map(|n| format!("value-{n}")).collect();
        assert_eq!(masks.add(values.iter().map(String::as_bytes)), Err(TooMany));
        assert!(masks.matcher().is_none());
    }

    proptest! {
        #[test]
        fn no_value_survives_anywhere(
            value in "[a-z]{3,9}", before in "[a-z]{0,12}", after in "[a-z]{0,12}",
        ) {
            let text = format!("{before}{value}{after}");
            prop_assert!(!masked(&[&value], &text).contains(&value));
        }

        #[test]
        fn text_without_a_value_is_left_alone(text in "[0-9 ]{0,40}") {
            prop_assert_eq!(masked(&["secret", "other"], &text), text);
        }
    }
}

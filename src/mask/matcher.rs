//! The search for many forms at once. At most positions of most texts, one look at a small table
//! shows that no form begins there; for the other positions, forms are found by their first bytes,
//! and among forms with the same first bytes by binary search.
//!
//! An Aho-Corasick automaton has the same linear bound, but must be rebuilt for each added value,
//! and uses many times the memory of its patterns; the job determines the number of both.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
};

use super::STARS;
use hash::Keyed;
use sorted::Sorted;

mod hash;
mod sorted;

/// A longer form is stored in parts of this length. Where the whole form occurs, the matches of its
/// parts touch and become one; and no comparison costs more than this, whatever values a job
/// registers.
const PREFIX_BYTES_MAX: usize = 256;
/// Forms of at least this length are found with a table of hashed first bytes.
const GRAM: usize = 4;
/// Bits of the table's index: 16 KiB, which fits into the first-level cache of a core.
const TABLE_BITS: u32 = 17;
/// Offset of the second check from the start of a form.
const SHIFT: usize = 2;
/// Odd multipliers of the hashes: of first bytes, of later bytes, and of short forms.
const FIRST: u32 = 0x9e37_79b1;
const FURTHER: u32 = 0x85eb_ca77;
const BRIEF: u32 = 0xc2b2_ae3d;
/// Memory overhead of one form in bytes: pointer, allocation, and its share of a map.
const FORM_BYTES: usize = 96;
/// Cost of looking up one position, in addition to what [`Sorted::longest`] counts, in nanoseconds.
const LOOKUP_COST: usize = 12;

/// Most matches in a text, which are kept until the text is rewritten, with 16 bytes each.
const MAX_FOUND: usize = 64 * 1024;

/// The search would cost more than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("searching the text for values to mask takes too long")]
pub struct Exhausted;

/// All forms of all values.
#[derive(Clone, Default)]
pub struct Matcher {
    /// Forms of [`GRAM`] or more bytes, by their first bytes.
    forms: HashMap<u32, Sorted, Keyed>,
    /// Number of these forms.
    count: usize,
    /// One bit for each hash of a form's first [`GRAM`] bytes; empty while there are no forms.
    table: Box<[u64]>,
    /// The same for the bytes at offset [`SHIFT`], or for the first bytes of a form that is too
    /// short.
    second: Box<[u64]>,
    /// Shorter forms, packed by [`short`].
    shorts: HashSet<u32, Keyed>,
    /// One bit for each hash of them; empty while there are none.
    short_table: Box<[u64]>,
    /// Their lengths, the longest first.
    short_lengths: Vec<usize>,
    longest: usize,
    bytes: usize,
}

// === impl Matcher ===

impl Matcher {
    pub(super) fn add(&mut self, form: &[u8]) {
        if form.is_empty() {
            return;
        }
        self.longest = self.longest.max(form.len().min(PREFIX_BYTES_MAX));
        if let Some(short) = short(form, form.len()) {
            self.add_short(short, form.len());
        } else {
            let last = form.get(form.len().saturating_sub(PREFIX_BYTES_MAX)..).unwrap_or_default();
            for part in form.chunks_exact(PREFIX_BYTES_MAX).chain([last]) {
                self.add_part(part);
            }
        }
    }

    fn add_short(&mut self, short: u32, length: usize) {
        if !self.shorts.insert(short) {
            return;
        }
        self.bytes += FORM_BYTES;
        set(&mut self.short_table, place(short, BRIEF));
        if !self.short_lengths.contains(&length) {
            self.short_lengths.push(length);
            self.short_lengths.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    fn add_part(&mut self, part: &[u8]) {
        let Some(gram) = gram(part) else { return };
        if !self.forms.entry(gram).or_default().insert(part) {
            return;
        }
        self.count += 1;
        self.bytes += part.len() + FORM_BYTES;
        set(&mut self.table, place(gram, FIRST));
        let further = part.get(SHIFT..).and_then(self::gram);
        set(&mut self.second, further.map_or_else(|| place(gram, BRIEF), |it| place(it, FURTHER)));
    }

    /// Whether there are no forms.
    pub fn is_empty(&self) -> bool {
        self.longest == 0
    }

    /// Number of forms; it only grows.
    pub fn forms(&self) -> usize {
        self.count + self.shorts.len()
    }

    /// Approximate memory use in bytes, without the tables.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Length in bytes of the longest single match.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Copies `text` to `out` with every match replaced; matches that overlap or touch become one.
    /// `work` is the allowed cost of the search, in approximate nanoseconds.
    ///
    /// # Errors
    /// The search would cost more. Then `out` contains only the masked beginning of the text.
    pub fn mask(&self, text: &[u8], work: usize, out: &mut Vec<u8>) -> Result<(), Exhausted> {
        self.mask_until(text, text.len(), work, out).map(drop)
    }

    /// Like [`Matcher::mask`] for matches that begin before `cut`. Returns where it stopped: at the
    /// cut, or behind the match that spans it.
    ///
    /// # Errors
    /// As [`Matcher::mask`].
    pub fn mask_until(
        &self,
        text: &[u8],
        cut: usize,
        mut work: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Exhausted> {
        let mut at = 0;
        while at < cut {
            let Some(found) = self.next(text, at, cut, &mut work)? else { break };
            out.extend_from_slice(text.get(at..found.start).unwrap_or_default());
            out.extend_from_slice(STARS);
            at = found.end;
        }
        let stop = at.max(cut).min(text.len());
        out.extend_from_slice(text.get(at..stop).unwrap_or_default());
        Ok(stop)
    }

    /// Adds the matches to `found`; each is complete, so that no other overlaps or touches it.
    /// Gives up when `work`, in approximate nanoseconds, is used up, or there are too many matches.
    ///
    /// # Errors
    /// The search would cost more.
    pub fn find(
        &self,
        text: &[u8],
        found: &mut Vec<Range<usize>>,
        work: &mut usize,
    ) -> Result<(), Exhausted> {
        let mut at = 0;
        while let Some(range) = self.next(text, at, text.len(), work)? {
            if found.len() >= MAX_FOUND {
                return Err(Exhausted);
            }
            at = range.end;
            found.push(range);
        }
        Ok(())
    }

    /// The next match that begins at or after `from` and before `cut`, merged with all that overlap
    /// it.
    fn next(
        &self,
        text: &[u8],
        from: usize,
        cut: usize,
        work: &mut usize,
    ) -> Result<Option<Range<usize>>, Exhausted> {
        let mut at = from;
        loop {
            match self.candidate(text, at, cut) {
                Some(next) => at = next,
                None => return Ok(None),
            }
            let Some(mut end) = self.match_end(text, at, work)? else {
                at += 1;
                continue;
            };
            let start = at;
            // A longer match may begin inside this one, or directly after it.
            while let Some(next) = self.candidate(text, at + 1, end + 1) {
                at = next;
                if let Some(further) = self.match_end(text, at, work)? {
                    end = end.max(further);
                }
            }
            return Ok(Some(start..end));
        }
    }

    /// The first position from `from` on, before `until`, where a match may begin.
    fn candidate(&self, text: &[u8], from: usize, until: usize) -> Option<usize> {
        let until = until.min(text.len());
        let whole = text.get(from..(until + GRAM - 1).min(text.len()))?;
        let found = if self.shorts.is_empty() {
            let may = |at: usize, bytes: &[u8]| {
                self.may_begin(bytes) && self.may_go_on(text.get(from + at..).unwrap_or_default())
            };
            whole.windows(GRAM).enumerate().position(|(at, bytes)| may(at, bytes))
        } else {
            let may = |at: usize, bytes: &[u8]| {
                self.may_be_short(bytes)
                    || self.may_begin(bytes)
                        && self.may_go_on(text.get(from + at..).unwrap_or_default())
            };
            let found = whole.windows(GRAM).enumerate().position(|(at, bytes)| may(at, bytes));
            // Fewer than [`GRAM`] bytes remain at the end of the text.
            let tail = (whole.len() + 1).saturating_sub(GRAM)..until.saturating_sub(from);
            found.or_else(|| {
                let rest = |at: usize| whole.get(at..).unwrap_or_default();
                tail.into_iter().find(|at| self.may_be_short(rest(*at)))
            })
        };
        found.map(|at| from + at)
    }

    fn may_be_short(&self, rest: &[u8]) -> bool {
        self.short_lengths.iter().any(|length| {
            short(rest, *length).is_some_and(|short| is_set(&self.short_table, place(short, BRIEF)))
        })
    }

    fn may_begin(&self, bytes: &[u8]) -> bool {
        gram(bytes).is_some_and(|gram| is_set(&self.table, place(gram, FIRST)))
    }

    /// Whether a position that may begin a form also passes the second check.
    fn may_go_on(&self, rest: &[u8]) -> bool {
        let further = rest.get(SHIFT..).and_then(gram);
        further.is_some_and(|gram| is_set(&self.second, place(gram, FURTHER)))
            || gram(rest).is_some_and(|gram| is_set(&self.second, place(gram, BRIEF)))
    }

    /// The end of the longest match at `at`.
    fn match_end(
        &self,
        text: &[u8],
        at: usize,
        work: &mut usize,
    ) -> Result<Option<usize>, Exhausted> {
        let rest = text.get(at..).unwrap_or_default();
        let rest = rest.get(..PREFIX_BYTES_MAX).unwrap_or(rest);
        *work = work.checked_sub(LOOKUP_COST).ok_or(Exhausted)?;
        if self.may_begin(rest)
            && let Some(alike) = gram(rest).and_then(|gram| self.forms.get(&gram))
            && let Some(length) = alike.longest(rest, work)?
        {
            return Ok(Some(at + length));
        }
        let is_known = |length: &&usize| {
            short(rest, **length).is_some_and(|short| self.shorts.contains(&short))
        };
        Ok(self.short_lengths.iter().find(is_known).map(|length| at + length))
    }
}

/// The first [`GRAM`] bytes.
fn gram(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|gram| u32::from_le_bytes(*gram))
}

/// Packs the first `length` bytes of `text` together with the length; `None` if there are fewer
/// bytes, or the form is not short.
fn short(text: &[u8], length: usize) -> Option<u32> {
    let [one, two, three] = match (length, text) {
        (1, [one, ..]) => [*one, 0, 0],
        (2, [one, two, ..]) => [*one, *two, 0],
        (3, [one, two, three, ..]) => [*one, *two, *three],
        _ => return None,
    };
    Some(u32::from_le_bytes([one, two, three, u8::try_from(length).unwrap_or(0)]))
}

/// Index and bit in a table for some bytes of a form.
fn place(gram: u32, multiplier: u32) -> (usize, u64) {
    let hash = gram.wrapping_mul(multiplier) >> (32 - TABLE_BITS);
    (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
}

/// Sets a bit in a table, which is allocated for the first one.
fn set(table: &mut Box<[u64]>, (word, bit): (usize, u64)) {
    if table.is_empty() {
        *table = vec![0; (1 << TABLE_BITS) / 64].into();
    }
    if let Some(word) = table.get_mut(word) {
        *word |= bit;
    }
}

fn is_set(table: &[u64], (word, bit): (usize, u64)) -> bool {
    table.get(word).is_some_and(|word| word & bit != 0)
}

/// Prints the number of forms, never the forms.
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("forms", &self.forms()).finish_non_exhaustive()
    }
}

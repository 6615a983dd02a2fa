//! The search for many forms at once. Most positions of most text are passed over by one look into
//! a small table; the rest are looked up by their first bytes, and among those of the same first
//! bytes by bisection.
//!
//! An Aho-Corasick automaton has the same linear bound, but is built anew for each added value and
//! takes many times the memory of its patterns, and a job decides on both.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
};

use super::STARS;

/// A longer form is kept as parts of this length. Where all of it stands the parts touch and become
/// one match; a comparison never costs more than this, whatever a job calls a secret.
const LONGEST: usize = 256;
/// A form of at least this length is found by a table of hashed beginnings.
const GRAM: usize = 4;
/// Bits of the table's index: 16 KiB, which stays in a core's first cache.
const TABLE_BITS: u32 = 17;
/// How far behind the first bytes of a form the second look is.
const SHIFT: usize = 2;
/// Odd multipliers for the hashes: of first bytes, of further ones, of the whole of a brief form.
const FIRST: u32 = 0x9e37_79b1;
const FURTHER: u32 = 0x85eb_ca77;
const BRIEF: u32 = 0xc2b2_ae3d;
/// Bytes that keeping one form takes beside its own: pointer, allocation, and its share of a map.
const FORM_BYTES: usize = 64;
/// What looking up one position costs beside the bytes compared, in compared bytes.
const LOOKUP_COST: usize = 16;

/// The text made the search cost more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text costs too much to search for values to mask")]
pub struct Exhausted;

/// The bytes of a form of fewer than [`GRAM`], and in the last place how many there are.
type Short = [u8; GRAM];

/// All forms of all values.
#[derive(Clone, Default)]
pub struct Matcher {
    /// Forms of [`GRAM`] bytes and more, by their first ones; those of the same in order.
    forms: HashMap<[u8; GRAM], Vec<Box<[u8]>>>,
    /// How many these are.
    count: usize,
    /// Bit by hash of a form's first [`GRAM`] bytes; empty while there are no forms.
    table: Box<[u64]>,
    /// The same of as many bytes further on; of a form that has no such, of the first ones anew.
    second: Box<[u64]>,
    /// Forms of fewer bytes.
    shorts: HashSet<Short>,
    /// Bit by hash of each of them; empty while there are none.
    short_table: Box<[u64]>,
    /// Which lengths they have.
    short_lengths: [bool; GRAM],
    longest: usize,
    bytes: usize,
}

// === impl Matcher ===

impl Matcher {
    pub(super) fn add(&mut self, form: &[u8]) {
        if form.is_empty() {
            return;
        }
        self.longest = self.longest.max(form.len().min(LONGEST));
        if let Some(short) = short(form, form.len()) {
            self.add_short(short, form.len());
        } else {
            let last = form.get(form.len().saturating_sub(LONGEST)..).unwrap_or_default();
            for part in form.chunks_exact(LONGEST).chain([last]) {
                self.add_part(part);
            }
        }
    }

    fn add_short(&mut self, short: Short, length: usize) {
        if !self.shorts.insert(short) {
            return;
        }
        self.bytes += FORM_BYTES;
        set(&mut self.short_table, place(short, BRIEF));
        if let Some(known) = self.short_lengths.get_mut(length) {
            *known = true;
        }
    }

    fn add_part(&mut self, part: &[u8]) {
        let Some(gram) = part.first_chunk() else { return };
        let alike = self.forms.entry(*gram).or_default();
        let Err(at) = alike.binary_search_by(|form| (**form).cmp(part)) else { return };
        alike.insert(at, part.into());
        self.count += 1;
        self.bytes += part.len() + FORM_BYTES;
        set(&mut self.table, place(*gram, FIRST));
        let further = part.get(SHIFT..).and_then(|rest| rest.first_chunk());
        let place = further.map_or_else(|| place(*gram, BRIEF), |gram| place(*gram, FURTHER));
        set(&mut self.second, place);
    }

    /// No form at all.
    pub fn is_empty(&self) -> bool {
        self.longest == 0
    }

    /// How many forms there are; it only grows.
    pub fn forms(&self) -> usize {
        self.count + self.shorts.len()
    }

    /// About how many bytes of memory it takes, tables not counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the longest match that is not made of others.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Copies `text` to `out` with every match replaced; matches that overlap or touch become one.
    pub fn mask(&self, text: &[u8], out: &mut Vec<u8>) {
        self.mask_until(text, text.len(), out);
    }

    /// Like [`Matcher::mask`] for matches that begin before `cut`. Returns where it stopped: at the
    /// cut, or behind the match that spans it.
    pub fn mask_until(&self, text: &[u8], cut: usize, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        let mut work = usize::MAX;
        while at < cut {
            let Ok(Some(found)) = self.next(text, at, cut, &mut work) else { break };
            out.extend_from_slice(text.get(at..found.start).unwrap_or_default());
            out.extend_from_slice(STARS);
            at = found.end;
        }
        let stop = at.max(cut).min(text.len());
        out.extend_from_slice(text.get(at..stop).unwrap_or_default());
        stop
    }

    /// Adds to `found` where matches are; each is whole: nothing overlaps or touches it. Gives up
    /// when it has cost `work`, in about a nanosecond a unit.
    pub fn find(
        &self,
        text: &[u8],
        found: &mut Vec<Range<usize>>,
        mut work: usize,
    ) -> Result<(), Exhausted> {
        let mut at = 0;
        while let Some(range) = self.next(text, at, text.len(), &mut work)? {
            at = range.end;
            found.push(range);
        }
        Ok(())
    }

    /// The next match that begins at or after `from` and before `cut`, with all that overlap it.
    fn next(
        &self,
        text: &[u8],
        from: usize,
        cut: usize,
        work: &mut usize,
    ) -> Result<Option<Range<usize>>, Exhausted> {
        let mut at = from;
        loop {
            match self.candidate(text, at) {
                Some(next) if next < cut => at = next,
                _ => return Ok(None),
            }
            let Some(mut end) = self.match_end(text, at, work)? else {
                at += 1;
                continue;
            };
            let start = at;
            // A longer match may begin inside this one, or at its end.
            while let Some(next) = self.candidate(text, at + 1).filter(|next| *next <= end) {
                at = next;
                if let Some(further) = self.match_end(text, at, work)? {
                    end = end.max(further);
                }
            }
            return Ok(Some(start..end));
        }
    }

    /// The first position from `from` on where a match may begin.
    fn candidate(&self, text: &[u8], from: usize) -> Option<usize> {
        let rest = text.get(from..)?;
        let found = if self.shorts.is_empty() {
            let mut at = 0;
            loop {
                let rest = rest.get(at..)?;
                at += rest.windows(GRAM).position(|gram| self.may_begin(gram))?;
                if self.may_go_on(text.get(from + at..)?) {
                    break Some(at);
                }
                at += 1;
            }
        } else {
            (0..rest.len()).position(|at| {
                let rest = rest.get(at..).unwrap_or_default();
                self.may_be_short(rest)
                    || rest.get(..GRAM).is_some_and(|gram| self.may_begin(gram))
                        && self.may_go_on(rest)
            })
        };
        found.map(|at| from + at)
    }

    fn may_be_short(&self, rest: &[u8]) -> bool {
        self.short_lengths.iter().enumerate().any(|(length, known)| {
            let short = known.then(|| short(rest, length)).flatten();
            short.is_some_and(|short| is_set(&self.short_table, place(short, BRIEF)))
        })
    }

    fn may_begin(&self, gram: &[u8]) -> bool {
        let Some(gram) = gram.first_chunk() else { return false };
        is_set(&self.table, place(*gram, FIRST))
    }

    /// Whether what may begin a form may also go on as one.
    fn may_go_on(&self, rest: &[u8]) -> bool {
        let further = rest.get(SHIFT..).and_then(|rest| rest.first_chunk());
        further.is_some_and(|gram| is_set(&self.second, place(*gram, FURTHER)))
            || rest.first_chunk().is_some_and(|gram| is_set(&self.second, place(*gram, BRIEF)))
    }

    /// The end of the longest match at `at`.
    fn match_end(
        &self,
        text: &[u8],
        at: usize,
        work: &mut usize,
    ) -> Result<Option<usize>, Exhausted> {
        let rest = text.get(at..).unwrap_or_default();
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let first = rest.first_chunk().filter(|gram| is_set(&self.table, place(**gram, FIRST)));
        let alike = first.and_then(|gram| self.forms.get(gram)).map_or(&[][..], Vec::as_slice);
        let mut key = rest;
        while key.len() >= GRAM {
            // What is a beginning of the key stands before it, and longer ones after shorter ones.
            let before = alike.partition_point(|form| **form <= *key);
            let Some(form) = before.checked_sub(1).and_then(|last| alike.get(last)) else { break };
            let common = form.iter().zip(rest).take_while(|(a, b)| a == b).count();
            *work = work.checked_sub(common + LOOKUP_COST).ok_or(Exhausted)?;
            if common == form.len() {
                return Ok(Some(at + common));
            }
            key = rest.get(..common).unwrap_or_default();
        }
        for length in (1..GRAM).rev() {
            if self.short_lengths.get(length).is_some_and(|known| *known)
                && short(rest, length).is_some_and(|short| self.shorts.contains(&short))
            {
                return Ok(Some(at + length));
            }
        }
        Ok(None)
    }
}

/// The first bytes of `text` as a form of so many; none where there are not as many, or it is no
/// short form.
fn short(text: &[u8], length: usize) -> Option<Short> {
    let bytes = text.get(..length).filter(|bytes| (1..GRAM).contains(&bytes.len()))?;
    let mut short = [0; GRAM];
    for (to, from) in short.iter_mut().zip(bytes) {
        *to = *from;
    }
    if let Some(last) = short.last_mut() {
        *last = u8::try_from(length).unwrap_or(0);
    }
    Some(short)
}

/// Word and bit of a table for some bytes of a form.
fn place(gram: [u8; GRAM], multiplier: u32) -> (usize, u64) {
    let hash = u32::from_le_bytes(gram).wrapping_mul(multiplier) >> (32 - TABLE_BITS);
    (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
}

/// Sets a bit in a table, which is made with its first one.
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

/// How many forms, never which.
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("forms", &self.forms()).finish_non_exhaustive()
    }
}

//! Forms with the same first bytes, sorted. Finds the longest form with which a text begins by one
//! binary search, because each form stores which of its prefixes are forms, too.

use super::Exhausted;

/// Lengths of prefixes, 1 to 256, one bit each.
type Lengths = [u64; 4];

/// The eight bytes after the common ones, padded with zeros. If two heads differ, their order is
/// that of the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head(u64);

/// Cost of a step of the binary search, and of a complete comparison, in nanoseconds.
const STEP_COST: usize = 8;
const COMPARE_COST: usize = 24;
/// Number of first bytes that all forms have in common.
const GRAM: usize = super::GRAM;

/// In blocks, so that an insertion moves few other forms: the job determines how many forms begin
/// alike, and their order. No block is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted(Vec<Vec<Form>>);

/// Most forms of a block; few in tests, so that they have several blocks.
const BLOCK: usize = if cfg!(test) { 4 } else { 256 };

#[derive(Clone)]
struct Form {
    /// Decides most comparisons without reading the bytes.
    head: Head,
    bytes: Box<[u8]>,
    /// Which of its prefixes are forms; `None` for most.
    beginnings: Option<Box<Lengths>>,
}

// === impl Sorted ===

impl Sorted {
    /// Adds a form of at most 256 bytes; returns whether it is new.
    pub(super) fn insert(&mut self, bytes: &[u8]) -> bool {
        let head = Head::of(bytes);
        let order = |form: &Form| form.head.cmp(&head).then_with(|| (*form.bytes).cmp(bytes));
        let is_later = |block: &Vec<Form>| block.first().is_some_and(|form| order(form).is_gt());
        let block = self.0.partition_point(|block| !is_later(block)).saturating_sub(1);
        let within = self.0.get(block).map_or(&[][..], Vec::as_slice);
        let Err(at) = within.binary_search_by(order) else { return false };
        let mut form = Form { head, bytes: bytes.into(), beginnings: None };
        // A form that is a prefix of this one and of a later one is also a prefix of the one before
        // it. Only the very first position has no form before it.
        if let Some(before) = at.checked_sub(1).and_then(|before| within.get(before)) {
            let common = common(&before.bytes, bytes);
            for length in (1..=common).filter(|length| before.has_beginning(*length)) {
                form.add_beginning(length);
            }
            if common == before.bytes.len() {
                form.add_beginning(common);
            }
        }
        let later = self.0.iter_mut().skip(block).flatten().skip(at);
        later.take_while(|later| later.bytes.starts_with(bytes)).for_each(|later| {
            later.add_beginning(bytes.len());
        });
        let Some(within) = self.0.get_mut(block) else {
            self.0.push(vec![form]);
            return true;
        };
        within.insert(at, form);
        if within.len() > BLOCK {
            let half = within.split_off(BLOCK / 2);
            self.0.insert(block + 1, half);
        }
        true
    }

    /// The length of the longest form with which the text begins. Subtracts the cost from `work`.
    pub(super) fn longest(
        &self,
        text: &[u8],
        work: &mut usize,
    ) -> Result<Option<usize>, Exhausted> {
        let head = Head::of(text);
        let mut is_after = |form: &Form| {
            let equal = form.head == head;
            let cost = if equal { COMPARE_COST } else { STEP_COST };
            *work = work.checked_sub(cost).ok_or(Exhausted)?;
            Ok(if equal { *form.bytes > *text } else { form.head > head })
        };
        // Such a form is sorted before the text, and is a prefix of the last form before it.
        let block = bisect(&self.0, |block| block.first(), &mut is_after)?;
        let Some(block) = block.checked_sub(1).and_then(|block| self.0.get(block)) else {
            return Ok(None);
        };
        let at = bisect(block, |form| Some(form), &mut is_after)?;
        let last = at.checked_sub(1).and_then(|last| block.get(last));
        let Some(form) = last else { return Ok(None) };
        let length = form.bytes.len();
        let common = match form.head.common(head) {
            Some(same) => (GRAM + same).min(length).min(text.len()),
            None if length <= GRAM + 8 && length <= text.len() => length,
            None => common(&form.bytes, text),
        };
        if common == length {
            return Ok(Some(common));
        }
        Ok(form.longest_beginning(common))
    }
}

/// Number of sorted items that are not greater than what is searched for.
fn bisect<T>(
    items: &[T],
    form: impl Fn(&T) -> Option<&Form>,
    is_after: &mut impl FnMut(&Form) -> Result<bool, Exhausted>,
) -> Result<usize, Exhausted> {
    let (mut from, mut to) = (0, items.len());
    while from < to {
        let middle = from.midpoint(to);
        let Some(form) = items.get(middle).and_then(&form) else { break };
        (from, to) = if is_after(form)? { (from, middle) } else { (middle + 1, to) };
    }
    Ok(from)
}

// === impl Head ===

impl Head {
    fn of(bytes: &[u8]) -> Self {
        let rest = bytes.get(GRAM..).unwrap_or_default();
        let head = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut head = [0; 8];
            head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            head
        });
        Self(u64::from_be_bytes(head))
    }

    /// Number of equal first bytes; `None` if all are equal.
    fn common(self, other: Self) -> Option<usize> {
        let differ = self.0 ^ other.0;
        (differ != 0).then(|| usize::try_from(differ.leading_zeros() / 8).unwrap_or(0))
    }
}

// === impl Form ===

impl Form {
    fn has_beginning(&self, length: usize) -> bool {
        let (word, bit) = place(length);
        let lengths = self.beginnings.as_deref();
        lengths.and_then(|lengths| lengths.get(word)).is_some_and(|word| word & bit != 0)
    }

    fn add_beginning(&mut self, length: usize) {
        let (word, bit) = place(length);
        let lengths = self.beginnings.get_or_insert_default();
        if let Some(word) = lengths.get_mut(word) {
            *word |= bit;
        }
    }

    /// Its longest prefix of at most `most` bytes that is a form.
    fn longest_beginning(&self, most: usize) -> Option<usize> {
        let lengths = self.beginnings.as_deref()?;
        let (last, bit) = place(most.max(1));
        for (at, word) in lengths.iter().enumerate().take(last + 1).rev() {
            // All lengths up to this one.
            let word = if at == last { word & (bit | (bit - 1)) } else { *word };
            if let (Some(highest), true) = (word.checked_ilog2(), most > 0) {
                return Some(at * 64 + usize::try_from(highest).unwrap_or(0) + 1);
            }
        }
        None
    }
}

/// Prints only the length.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Index and bit for a length of at least 1.
fn place(length: usize) -> (usize, u64) {
    let at = length.saturating_sub(1);
    (at / 64, 1 << (at % 64))
}

/// Number of equal first bytes.
fn common(a: &[u8], b: &[u8]) -> usize {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let ((a_words, _), (b_words, _)) = (a.as_chunks(), b.as_chunks());
    let mut same = 0;
    for (a, b) in a_words.iter().zip(b_words) {
        let differ = word(a) ^ word(b);
        if differ != 0 {
            return same + usize::try_from(differ.trailing_zeros() / 8).unwrap_or(0);
        }
        same += 8;
    }
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    same + a.iter().zip(b).take(8).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_that_begins_a_text_is_found_in_whatever_order_they_came(
            forms in proptest::collection::vec("[a\\x00]{0,12}", 1..20), text in "[a\\x00]{0,16}",
        ) {
            let mut sorted = Sorted::default();
            let (forms, text) = (forms.iter().map(|it| format!("same{it}")).collect::<Vec<_>>(), format!("same{text}"));
            for (at, form) in forms.iter().enumerate() {
                let is_new = !forms[..at].contains(form);
                prop_assert_eq!(sorted.insert(form.as_bytes()), is_new);
            }
            let wanted = forms.iter().filter(|form| text.starts_with(*form)).map(String::len).max();
            prop_assert_eq!(sorted.longest(text.as_bytes(), &mut usize::MAX.clone()), Ok(wanted));
        }

        #[test]
        fn bytes_are_the_same_until_they_differ(
            same in "[ab]{0,40}", a in "[ab]{0,20}", b in "[ab]{0,20}",
        ) {
            let (a, b) = (same.clone() + &a, same + &b);
            let wanted = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common(a.as_bytes(), b.as_bytes()), wanted);
        }
    }

    #[test]
    fn beginnings_of_every_length_are_found() {
        let long = [b'a'; 256];
        let mut sorted = Sorted::default();
        for length in (4..=256).filter(|length| length % 63 != 0) {
            sorted.insert(&long[..length]);
        }
        for length in 4..=256 {
            let text = [&long[..length], b"b"].concat();
            let wanted = (4..=length).rev().find(|length| length % 63 != 0);
            assert_eq!(sorted.longest(&text, &mut usize::MAX.clone()), Ok(wanted), "{length}");
        }
    }

    #[test]
    fn a_search_ends_when_it_has_cost_enough() {
        let mut sorted = Sorted::default();
        (0..=255).for_each(|last| {
            sorted.insert(&[b'a', b'b', b'c', b'd', last]);
        });
        let mut work = 1000;
        assert_eq!(sorted.longest(b"abcde", &mut work), Ok(Some(5)));
        let once = 1000 - work;
        assert!(once > 0 && once < 100, "{once}");
        let mut work = once - 1;
        assert_eq!(sorted.longest(b"abcde", &mut work), Err(Exhausted));
    }
}

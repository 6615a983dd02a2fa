//! The values that must not appear in a log, and the search for them: init searches a step's output
//! before it is written, and the agent each line before it is sent. [`shared`] passes values from
//! init and hook to the agent; [`patterns`] is used by the agent only, and is not linked into init.

mod encode;
pub mod environment;
pub mod job;
mod matcher;
pub mod patterns;
pub mod shared;
pub mod workflow_command;

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex},
};

use ephemon_base::lock;

pub use self::matcher::{Exhausted, Matcher};

/// Most values that init keeps. If a job has more, its log is withheld, and says so.
const MAX_VALUES: usize = 4096;
/// Most bytes of all values together, without encodings.
const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Most memory that all forms use; values with several lines or with quotes have many forms.
const MAX_FORMS_BYTES: usize = 24 * 1024 * 1024;
/// The largest cost of the search in a line, in approximate nanoseconds: a constant for every line,
/// plus a cost per byte. Values that almost match the text cost more; such lines are not shown.
const LINE_WORK: usize = 1024;
const BYTE_WORK: usize = 20;
/// Replaces a secret.
pub const STARS: &[u8] = b"***";

/// There are more values than can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {values} values or {bytes} bytes to mask, or {forms_bytes} bytes with encodings"
)]
pub struct TooMany {
    /// Most values that can be kept.
    pub values: usize,
    /// Most bytes of all values.
    pub bytes: usize,
    /// Most bytes of memory that all forms can use.
    pub forms_bytes: usize,
}

/// The largest cost of the search in a text of this length: enough for thousands of values anywhere
/// in it, including short ones.
pub fn work_for(bytes: usize) -> usize {
    LINE_WORK.saturating_add(bytes.saturating_mul(BYTE_WORK))
}

/// A set of values to mask. Cheap to clone; all clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Masks(Arc<Mutex<Set>>);

/// Called for each new value; with `None` for a value that could not be stored.
type Listener = Box<dyn Fn(Option<&[u8]>) + Send>;

struct Set {
    values: HashSet<Vec<u8>>,
    bytes: usize,
    limit: TooMany,
    overflowed: bool,
    matcher: Arc<Matcher>,
    listener: Option<Listener>,
}

// === impl Masks ===

impl Masks {
    /// An empty set with this limit.
    pub fn bounded(limit: TooMany) -> Self {
        let set = Set { limit, ..Set::default() };
        Self(Arc::new(Mutex::new(set)))
    }

    /// Sets a function that is called for each new value, before anything is masked with it.
    pub fn listen(&self, listener: impl Fn(Option<&[u8]>) + Send + 'static) {
        lock(&self.0).listener = Some(Box::new(listener));
    }

    /// Reports a value that is not stored, whose text is not shown here, to the listener.
    pub fn miss(&self) {
        lock(&self.0).say(None);
    }

    /// Adds values. Beyond the limit nothing more is kept, and [`Masks::matcher`] reports it,
    /// because what cannot be masked must not be written.
    pub fn add<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<(), TooMany> {
        let mut set = lock(&self.0);
        for value in values {
            if set.overflowed {
                break;
            }
            if value.trim_ascii().is_empty() || set.values.contains(value) {
                continue;
            }
            set.bytes = set.bytes.saturating_add(value.len());
            if set.values.len() >= set.limit.values || set.bytes > set.limit.bytes {
                set.overflowed = true;
                break;
            }
            set.values.insert(value.to_vec());
            set.say(Some(value));
            // Copied only while another thread uses it.
            let matcher = Arc::make_mut(&mut set.matcher);
            for form in encode::forms(value) {
                matcher.add(&form);
            }
            if set.matcher.bytes() > set.limit.forms_bytes {
                set.overflowed = true;
            }
        }
        if set.overflowed {
            set.give_up();
            return Err(set.limit);
        }
        Ok(())
    }

    /// Marks that a value could not be stored, as if there had been too many. The values are
    /// dropped, because they are not searched for any more.
    pub fn give_up(&self) {
        lock(&self.0).give_up();
    }

    /// The present matcher; `None` if there were more values than can be kept.
    pub fn matcher(&self) -> Option<Arc<Matcher>> {
        let set = lock(&self.0);
        (!set.overflowed).then(|| Arc::clone(&set.matcher))
    }

    /// Approximate memory of all forms of all values, in bytes.
    pub fn bytes(&self) -> usize {
        lock(&self.0).matcher.bytes()
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        lock(&self.0).values.len()
    }
}

// === impl Set ===

impl Set {
    fn say(&self, value: Option<&[u8]>) {
        if let Some(listener) = &self.listener {
            listener(value);
        }
    }

    fn give_up(&mut self) {
        if !self.overflowed || !self.values.is_empty() {
            self.say(None);
        }
        self.overflowed = true;
        self.values = HashSet::new();
        self.matcher = Arc::default();
    }
}

impl Default for Set {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            bytes: 0,
            limit: TooMany {
                values: MAX_VALUES,
                bytes: MAX_VALUE_BYTES,
                forms_bytes: MAX_FORMS_BYTES,
            },
            overflowed: false,
            matcher: Arc::default(),
            listener: None,
        }
    }
}

/// Prints the number of values, never the values.
impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set")
            .field("values", &self.values.len())
            .field("overflowed", &self.overflowed)
            .finish_non_exhaustive()
    }
}

/// Sorts `found` and merges ranges that overlap or touch.
pub fn merge(found: &mut Vec<Range<usize>>) {
    found.sort_unstable_by_key(|range| range.start);
    found.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
}

/// Copies `text` to `out` and replaces each range of `found`, which is merged, by asterisks.
pub fn replace(text: &[u8], found: &[Range<usize>], out: &mut Vec<u8>) {
    let mut clean_from = 0;
    for range in found {
        out.extend_from_slice(text.get(clean_from..range.start).unwrap_or_default());
        out.extend_from_slice(STARS);
        clean_from = range.end;
    }
    out.extend_from_slice(text.get(clean_from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn masked(values: &[&str], text: &str) -> String {
        let masks = Masks::default();
        masks.add(values.iter().map(|value| value.as_bytes())).expect("few");
        let mut out = Vec::new();
        masks
            .matcher()
            .expect("few")
            .mask(text.as_bytes(), usize::MAX, &mut out)
            .expect("no limit");
        String::from_utf8(out).expect("utf-8")
    }

    #[test]
    fn matches_are_replaced_and_overlapping_ones_become_one() {
        assert_eq!(masked(&["secret"], "a secret b"), "a *** b");
        assert_eq!(masked(&["abcdef", "defghi"], "x abcdefghi y"), "x *** y");
        assert_eq!(masked(&["abc", "abcdef"], "abcdef abc"), "*** ***");
        assert_eq!(masked(&["abc"], "abcabc"), "***");
        assert_eq!(masked(&["x"], "axb"), "a***b");
        assert_eq!(masked(&["xyz"], "axyz"), "a***");
        assert_eq!(masked(&[], "nothing"), "nothing");
        assert_eq!(masked(&["pässwörd"], "mein pässwörd!"), "mein ***!");
        assert_eq!(masked(&["hunter2-hunter2"], "b64 aHVudGVyMi1odW50ZXIy"), "b64 ***");
    }

    #[test]
    fn a_value_longer_than_any_form_kept_whole_is_found() {
        let value = (1000..1300).map(|n| n.to_string()).collect::<Vec<_>>().join("/");
        assert_eq!(masked(&[&value], &format!("<{value}>")), "<***>");
        assert_eq!(masked(&[&value], &format!("<{}>", value.replace('/', "%2F"))), "<***>");
    }

    #[test]
    fn beyond_the_limit_nothing_may_be_written() {
        let masks = Masks::default();
        let values: Vec<String> = (0..=MAX_VALUES).map(|n| format!("value-{n}")).collect();
        assert!(masks.add(values.iter().map(String::as_bytes)).is_err());
        assert!(masks.matcher().is_none());
        let limit = TooMany { values: 10, bytes: 8, forms_bytes: 100_000 };
        let masks = Masks::bounded(limit);
        assert_eq!(masks.add([b"123456789".as_slice()]), Err(limit));
        assert!(masks.matcher().is_none());
        let masks = Masks::bounded(TooMany { bytes: 100_000, forms_bytes: 10_000, ..limit });
        let lines: Vec<String> = (0..100).map(|n| format!("{n}abcd\"'\\&<")).collect();
        assert!(masks.add([lines.join("\n").as_bytes()]).is_err());
        assert!(masks.matcher().is_none());
    }

    #[test]
    fn a_value_is_not_in_the_debug_output() {
        let masks = Masks::default();
        masks.add([b"hunter2-hunter2".as_slice()]).expect("few");
        assert!(!format!("{masks:?} {:?}", masks.matcher()).contains("hunter2"));
    }

    #[test]
    fn thousands_of_brief_values_are_found_at_about_the_cost_of_one() {
        let letters: Vec<u8> = (b'a'..=b'z').collect();
        let mut values = Vec::new();
        for n in 0..2000_usize {
            let place = |by: usize| letters[n / by % 26];
            values.push(vec![place(676), place(26), place(1)]);
        }
        let text: Vec<u8> = (0..200_000_usize).map(|n| letters[n * n / 7 % 26]).collect();
        // Of a processor: a busy machine lets this thread wait.
        let spent = || {
            let spent = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(spent.tv_sec.try_into().unwrap(), spent.tv_nsec.try_into().unwrap())
        };
        let cost = |values: &[Vec<u8>]| {
            let masks = Masks::default();
            masks.add(values.iter().map(Vec::as_slice)).expect("few");
            let matcher = masks.matcher().expect("few");
            let once = || {
                let begin = spent();
                matcher.mask(&text, work_for(text.len()), &mut Vec::new()).expect("cheap");
                spent().saturating_sub(begin)
            };
            (0..3).map(|_| once()).min().expect("three")
        };
        let (one, all) = (cost(&values[..1]), cost(&values));
        assert!(all < one * 20, "one value: {one:?}, 2000: {all:?}");
    }

    /// Adding tens of thousands of values one by one takes as many steps: the matcher is not
    /// rebuilt, is copied only while it is in use, and does not grow beyond the limit.
    #[test]
    fn a_value_more_is_added_to_what_is_there() {
        let masks = Masks::default();
        let place = || masks.matcher().map(|matcher| Arc::as_ptr(&matcher));
        let first = place();
        for n in 0..MAX_VALUES {
            masks.add([format!("{n:04}").as_bytes()]).expect("few");
            assert_eq!(place(), first, "copied for value {n}");
        }
        for n in MAX_VALUES..65_000 {
            assert!(masks.add([format!("value-{n}").as_bytes()]).is_err());
        }
        assert_eq!((masks.count(), masks.bytes(), place()), (0, 0, None));
    }

    #[test]
    fn what_would_cost_too_much_to_search_is_said() {
        let values: Vec<Vec<u8>> =
            (0..=255).map(|last| [&[b'a'; 200][..], &[last]].concat()).collect();
        let masks = Masks::default();
        masks.add(values.iter().map(Vec::as_slice)).expect("few");
        let matcher = masks.matcher().expect("few");
        let mask = |text: &[u8]| matcher.mask(text, work_for(text.len()), &mut Vec::new());
        assert_eq!(mask(&[b'a'; 4000]), Err(Exhausted));
        assert_eq!(mask(&b"an ordinary text, again and again. ".repeat(100)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_value_survives_anywhere(
            values in proptest::collection::vec("[ab]{1,9}", 1..6), text in "[abc]{0,60}",
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let out = masked(&values, &text);
            prop_assert!(values.iter().all(|value| !out.contains(value)), "{}", out);
        }

        #[test]
        fn text_without_a_value_is_left_alone(text in "[0-9 ]{0,40}") {
            prop_assert_eq!(masked(&["secret", "other"], &text), text);
        }
    }
}

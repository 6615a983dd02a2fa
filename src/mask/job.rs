//! The masks of one pod, shared by all its containers: a value that was registered in one of them
//! is masked in the output of all.

use std::{
    collections::BTreeSet,
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use ephemon_base::lock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Masks, Matcher, STARS, TooMany};

/// Most values of one pod. An agent has many pods, and encodings need more memory than values.
const MAX_VALUES: usize = 2048;
/// Most bytes of all values.
const MAX_VALUE_BYTES: usize = 256 * 1024;
/// Most memory of their forms, for one pod.
pub const MAX_FORMS_BYTES: usize = 5 * 1024 * 1024;

/// What may be exported of a container's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Everything except secrets.
    #[default]
    Masked,
    /// Everything, except the lines that register a secret with `::add-mask::`.
    Raw,
}

/// The text is not the name of a [`Mode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of off, masked, raw")]
pub struct InvalidMode(String);

/// The masks of a pod. Cheap to clone; all clones are the same set.
#[derive(Debug, Clone)]
pub struct JobMasks {
    mode: Mode,
    masks: Masks,
    told: Arc<Mutex<State>>,
    /// The same as in `told`, for a fast check of every line.
    unproven: Arc<AtomicBool>,
    /// A value was registered that had already been replaced by asterisks.
    starred: Arc<AtomicBool>,
}

/// Fingerprints of the values that a pod registered, for places where the values must not be
/// stored: four bytes of the SHA-256 of each, enough to recognise a value, and useless without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldValues {
    values: BTreeSet<u32>,
    /// Further values are unknown, or there were more than can be kept.
    lost: bool,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeSet<u32>,
    /// Registered earlier, and not found again.
    missing: BTreeSet<u32>,
    lost: bool,
}

// === impl ToldValues ===

impl ToldValues {
    /// For a pod of which nothing is known any more.
    pub fn lost() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Whether no value was registered.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.lost
    }
}

// === impl State ===

impl State {
    fn hear(&mut self, value: Option<&[u8]>) {
        match value.map(known_again) {
            Some(_) if self.lost => {}
            Some(value) => {
                self.missing.remove(&value);
                self.known.insert(value);
            }
            None => self.lose(),
        }
    }

    /// Another value is and remains unknown, so the other ones no longer matter.
    fn lose(&mut self) {
        *self = Self { lost: true, ..Self::default() };
    }

    fn is_proven(&self) -> bool {
        self.missing.is_empty() && !self.lost
    }
}

fn known_again(value: &[u8]) -> u32 {
    let sum = Sha256::digest(value);
    sum.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

// === impl Mode ===

impl Mode {
    /// Its name in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Masked => "masked",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let modes = [Self::Off, Self::Masked, Self::Raw];
        let known = modes.into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| InvalidMode(text.to_owned()))
    }
}

// === impl JobMasks ===

impl JobMasks {
    /// Without values.
    pub fn new(mode: Mode) -> Self {
        let masks = Masks::bounded(TooMany {
            values: MAX_VALUES,
            bytes: MAX_VALUE_BYTES,
            forms_bytes: MAX_FORMS_BYTES,
        });
        let new = Self {
            mode,
            masks,
            told: Arc::default(),
            unproven: Arc::default(),
            starred: Arc::default(),
        };
        let (told, unproven) = (Arc::clone(&new.told), Arc::clone(&new.unproven));
        new.masks.listen(move |value| change(&told, &unproven, |state| state.hear(value)));
        new
    }

    /// Marks these values as registered earlier: until all of them are known again, a text may
    /// contain one. A masked value that was not registered then does not replace any of them.
    pub fn expect(&self, before: &ToldValues) {
        change(&self.told, &self.unproven, |state| {
            if before.lost {
                state.lose();
            } else if !state.lost {
                state.missing.extend(before.values.difference(&state.known));
            }
        });
    }

    /// Marks that there is a value that can never be known, so no text counts as completely masked
    /// any more.
    pub fn miss(&self) {
        change(&self.told, &self.unproven, State::lose);
    }

    /// Whether a value was registered as asterisks: another program, such as a container's init,
    /// knows it and has masked it where it was registered.
    pub fn is_starred(&self) -> bool {
        self.starred.load(Ordering::Relaxed)
    }

    /// Whether all registered values are known.
    pub fn is_proven(&self) -> bool {
        !self.unproven.load(Ordering::Relaxed)
    }

    /// Fingerprints of the values that were registered so far.
    pub fn told(&self) -> ToldValues {
        let state = lock(&self.told);
        ToldValues {
            values: state.known.union(&state.missing).copied().collect(),
            lost: state.lost,
        }
    }

    /// Adds values, whole and line by line, with all the runner's encodings. If there are too many,
    /// no text of the pod is shown any more.
    pub fn add<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<(), TooMany> {
        // Asterisks are what init leaves of a value: they are not secret, and very common.
        let is_told = |value: &&[u8]| {
            if *value == STARS {
                self.starred.store(true, Ordering::Relaxed);
            }
            !value.iter().all(|byte| STARS.contains(byte))
        };
        self.masks.add(values.into_iter().filter(is_told))
    }

    /// Marks that there is a value that could not be stored: no text is shown any more.
    pub fn give_up(&self) {
        self.masks.give_up();
    }

    /// What may be exported.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Approximate memory use in bytes.
    pub fn bytes(&self) -> usize {
        self.masks.bytes()
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.masks.count()
    }

    /// Whether there were more values than can be kept.
    pub fn overflowed(&self) -> bool {
        self.masks.matcher().is_none()
    }

    /// The present matcher; `None` if there were more values than can be kept.
    pub fn matcher(&self) -> Option<Arc<Matcher>> {
        self.masks.matcher()
    }
}

fn change(told: &Mutex<State>, unproven: &AtomicBool, how: impl FnOnce(&mut State)) {
    let mut state = lock(told);
    how(&mut state);
    unproven.store(!state.is_proven(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_does_not_stand_for_one_that_was_told_before() {
        let told = |values: &[&str]| {
            let masks = JobMasks::new(Mode::Masked);
            masks.add(values.iter().map(|value| value.as_bytes())).expect("few");
            masks
        };
        let before = told(&["lost", "kept"]).told();
        let after = told(&["kept", "new"]);
        after.expect(&before);
        assert!(!after.is_proven());
        after.add([b"newer".as_slice()]).expect("few");
        assert!(!after.is_proven());
        let again = told(&[]);
        again.expect(&after.told());
        again.add([b"new".as_slice(), b"newer", b"kept", b"lost"]).expect("few");
        assert!(again.is_proven(), "all are known again");
        again.miss();
        again.add([b"newest".as_slice()]).expect("few");
        assert!(!again.is_proven());
        assert_eq!(again.told(), ToldValues::lost(), "nothing more is kept of it");
    }

    #[test]
    fn which_values_were_told_is_written_without_them() {
        let masks = JobMasks::new(Mode::Masked);
        assert!(masks.told().is_empty());
        masks.add([b"hunter2".as_slice()]).expect("few");
        let text = serde_json::to_string(&masks.told()).expect("JSON");
        assert_eq!(text, r#"{"values":[4113546546],"lost":false}"#);
        assert_eq!(serde_json::from_str::<ToldValues>(&text).expect("JSON"), masks.told());
        masks.give_up();
        assert!(!masks.is_proven());
    }

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Off, Mode::Masked, Mode::Raw] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "none".parse::<Mode>().expect_err("no mode");
        assert_eq!(error.to_string(), "\"none\" is not one of off, masked, raw");
    }

    #[test]
    fn what_one_container_learns_counts_for_all() {
        let masks = JobMasks::new(Mode::Masked);
        masks.clone().add([b"hunter2".as_slice(), b"***", b"*"]).expect("few");
        assert_eq!(masks.count(), 1);
        assert!(masks.is_starred(), "a value that was masked before it came to us");
        let many: Vec<String> = (0..3000).map(|n| format!("value-{n}")).collect();
        assert!(masks.add(many.iter().map(String::as_bytes)).is_err());
        assert!(masks.overflowed());
    }
}

//! The masks of one pod, shared by all its containers: what any of them says is secret is secret in
//! the output of all.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::{Masks, Matcher, STARS, TooMany};

/// Most values of one pod. An agent has many pods, and an encoding more than a value.
const MAX_VALUES: usize = 2048;
/// Most bytes of them.
const MAX_VALUE_BYTES: usize = 256 * 1024;

/// What may be sent of a container's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing.
    Off,
    /// All but secrets.
    #[default]
    Masked,
    /// All as it is, but for the lines that tell a secret by `::add-mask::`.
    Raw,
}

/// The text is no [`Mode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of off, masked, raw")]
pub struct InvalidMode(String);

/// The masks of a pod. Cheap to clone; every clone is the same set.
#[derive(Debug, Clone)]
pub struct JobMasks {
    mode: Mode,
    masks: Masks,
    /// How many values are known to have been told.
    expected: Arc<AtomicU32>,
    /// A value was told that had been masked before it came to us.
    starred: Arc<AtomicBool>,
}

// === impl Mode ===

impl Mode {
    /// As it is written.
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
    /// No values yet.
    pub fn new(mode: Mode) -> Self {
        let masks = Masks::bounded(MAX_VALUES, MAX_VALUE_BYTES);
        Self { mode, masks, expected: Arc::default(), starred: Arc::default() }
    }

    /// So many values were told before: while fewer are known, a text may have one in it.
    pub fn expect(&self, values: u32) {
        self.expected.store(values, Ordering::Relaxed);
    }

    /// There is a value that nobody can tell us: no text is proven any more.
    pub fn miss(&self) {
        self.expect(u32::MAX);
    }

    /// Whether a value was told as stars: somebody else, such as a container's init, knows it and has
    /// masked it where it was told.
    pub fn is_starred(&self) -> bool {
        self.starred.load(Ordering::Relaxed)
    }

    /// Whether all values are known that are known to have been told.
    pub fn is_proven(&self) -> bool {
        let expected = self.expected.load(Ordering::Relaxed);
        expected == 0 || self.known() >= expected
    }

    /// How many values were told; `u32::MAX` for more than are kept.
    pub fn told(&self) -> u32 {
        self.known().max(self.expected.load(Ordering::Relaxed))
    }

    fn known(&self) -> u32 {
        if self.overflowed() { u32::MAX } else { u32::try_from(self.count()).unwrap_or(u32::MAX) }
    }

    /// Adds values, whole and by lines, in all the runner's encodings. When there are too many, no
    /// text of the pod is shown any more.
    pub fn add<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<(), TooMany> {
        // Stars are what init leaves of a value: no secret, and in half of all lines.
        let is_told = |value: &&[u8]| {
            if *value == STARS {
                self.starred.store(true, Ordering::Relaxed);
            }
            !value.iter().all(|byte| STARS.contains(byte))
        };
        self.masks.add(values.into_iter().filter(is_told))
    }

    /// There is a value that could not be taken down: no text is shown any more.
    pub fn give_up(&self) {
        self.masks.give_up();
    }

    /// What may be sent.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.masks.bytes()
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.masks.count()
    }

    /// There were more values than are kept.
    pub fn overflowed(&self) -> bool {
        self.masks.matcher().is_none()
    }

    pub(crate) fn matcher(&self) -> Option<Arc<Matcher>> {
        self.masks.matcher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Off, Mode::Masked, Mode::Raw] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "none".parse::<Mode>().expect_err("no mode");
        assert_eq!(error.to_string(), "\"none\" is none of off, masked, raw");
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

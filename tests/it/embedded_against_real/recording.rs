//! What was seen on one node: lines of text, each with a name of its own.

use std::fmt::Display;

/// Named lines in the order in which they were noted.
#[derive(Debug, Default)]
pub(super) struct Recording(Vec<(String, String)>);

// === impl Recording ===

impl Recording {
    /// Notes a line; line breaks in it are shown as `\n`.
    ///
    /// # Panics
    /// If the name is taken: each line is compared with the one of its name.
    pub(super) fn note(&mut self, name: impl Into<String>, value: impl Display) {
        let name = name.into();
        assert!(self.get(&name).is_none(), "{name} is noted twice");
        let value = value.to_string().replace('\n', "\\n").replace('\t', "\\t");
        eprintln!("{name}: {value}");
        self.0.push((name, value));
    }

    /// The line of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

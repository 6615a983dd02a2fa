//! What was seen on one node: lines of text, each with a name of its own.

use std::fmt::Display;

use super::order::{Order, folded, is_whole};

/// Named lines in the order in which they were noted.
#[derive(Debug)]
pub(super) struct Recording {
    lines: Vec<(String, String)>,
    /// The orders of values as they were seen, by their lines' names.
    seen: Vec<(String, Vec<String>)>,
    /// Those in which instants may be missing.
    orders: &'static [Order],
}

// === impl Recording ===

impl Recording {
    /// An empty one, with the orders in which instants may be missing.
    pub(super) fn new(orders: &'static [Order]) -> Self {
        Self { lines: Vec::new(), seen: Vec::new(), orders }
    }

    /// Notes a line; line breaks in it are shown as `\n`.
    ///
    /// # Panics
    /// If the name is taken: each line is compared with the one of its name.
    pub(super) fn note(&mut self, name: impl Into<String>, value: impl Display) {
        let name = name.into();
        assert!(self.get(&name).is_none(), "{name} is noted twice");
        let value = value.to_string().replace('\n', "\\n").replace('\t', "\\t");
        eprintln!("{name}: {value}");
        self.lines.push((name, value));
    }

    /// Notes the order of an aspect's values, in the form that it is declared to have.
    pub(super) fn note_order(&mut self, name: String, seen: Vec<String>) {
        let form = folded(self.orders, &name, &seen);
        self.note(name.clone(), &form);
        let shown = seen.join(" > ");
        if !form.replace(['(', ')'], "").eq(&shown) {
            eprintln!("{name}, as it was seen: {shown}");
        }
        self.seen.push((name, seen));
    }

    /// The line of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(name, _)| name.as_str())
    }

    /// The declared orders of which not every value was seen, the instants among them, and how each was
    /// seen: empty if it was not.
    pub(super) fn incomplete(&self) -> Vec<(Order, String)> {
        let of = |name: &str| self.seen.iter().find(|(known, _)| known == name);
        let seen =
            |(name, _): &Order| of(name).map(|(_, seen)| seen.as_slice()).unwrap_or_default();
        let all = self.orders.iter().filter(|order| !is_whole(order.1, seen(order)));
        all.map(|order| (*order, seen(order).join(" > "))).collect()
    }
}

//! Columns under their heads, of one width each. Pure.

use crate::cut::{cut, width};
use crate::screen::{Screen, Tone};

/// Columns of the terminal that a cell takes at most, the last one aside.
const CELL_LIMIT: usize = 44;
/// Between columns.
const GAP: &str = "  ";

/// A cell: its text and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    is_number: bool,
}

/// Heads and rows.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

// === impl Cell ===

impl Cell {
    /// A text, at its column's left.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number, at its column's right.
    pub(crate) fn number(text: impl Into<String>) -> Self {
        Self { is_number: true, ..Self::new(text) }
    }

    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

// === impl Table ===

impl Table {
    /// Of these heads: one that ends in `>` is a number's.
    pub(crate) fn new(heads: &[&str]) -> Self {
        let head = |text: &&str| {
            let cell = match text.strip_suffix('>') {
                Some(text) => Cell::number(text),
                None => Cell::new(*text),
            };
            cell.tone(Tone::Quiet)
        };
        Self { rows: vec![heads.iter().map(head).collect()] }
    }

    pub(crate) fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The lines, none longer than the screen is wide.
    pub(crate) fn text(mut self, screen: Screen) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        for cell in
            self.rows.iter_mut().flat_map(|row| row.iter_mut().take(columns.saturating_sub(1)))
        {
            cell.text = cut(&cell.text, CELL_LIMIT);
        }
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(&cell.text)).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let most = if screen.is_terminal() { screen.size().0 } else { usize::MAX };
        self.rows
            .iter()
            .fold(String::new(), |text, row| text + &line(row, &widths, most, screen) + "\n")
    }
}

fn line(row: &[Cell], widths: &[usize], most: usize, screen: Screen) -> String {
    let (mut text, mut used) = (String::new(), 0_usize);
    let last = row.len().saturating_sub(1);
    for (at, (cell, wide)) in row.iter().zip(widths).enumerate() {
        let room = most.saturating_sub(used);
        let shown = cut(&cell.text, room);
        let gap = " ".repeat(wide.saturating_sub(width(&shown)).min(room));
        let painted = screen.paint(cell.tone, &shown);
        match (cell.is_number, at == last) {
            (true, _) => text.extend([gap.as_str(), &painted]),
            (false, true) => text.push_str(&painted),
            (false, false) => text.extend([painted.as_str(), &gap]),
        }
        used = used.saturating_add(*wide).saturating_add(GAP.len());
        if at == last || used >= most {
            break;
        }
        text.push_str(GAP);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let mut table = Table::new(&["NAME", "CPU>", "RESULT"]);
        table.add(vec![Cell::new("漢字"), Cell::number("9m"), Cell::new("ok")]);
        table.add(vec![Cell::new("a"), Cell::number("1000m"), Cell::new("")]);
        let lines = ["NAME    CPU  RESULT", "漢字     9m  ok", "a     1000m"];
        assert_eq!(table.text(Screen::plain()), lines.map(|line| format!("{line}\n")).concat());
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_sign() {
        assert_eq!(
            [cut("abcdef", 4), cut("abcd", 4), cut("漢字漢字", 4), cut("a", 0)],
            ["abc…", "abcd", "漢…", ""]
        );
        let row = [Cell::new("a".repeat(9)), Cell::new("b".repeat(9))];
        assert_eq!(line(&row, &[9, 9], 14, Screen::plain()), "aaaaaaaaa  bb…");
        assert_eq!(line(&row, &[9, 9], 5, Screen::plain()), "aaaa…");
    }
}

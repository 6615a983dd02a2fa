//! A timeline as a mermaid diagram of the kind `gantt`, which GitHub draws.
//!
//! The grammar is mermaid's `diagrams/gantt/parser/gantt.jison` (11.17): a line is a name up to its first
//! colon, and after it tags, start and end. Names have no escapes: `%%` begins a comment anywhere, `#` a
//! reference, and a line that begins with a word of the language (`section`, `click`, a date) is that.

use std::fmt::Write as _;

use ephemon_base::visible::one_line;

/// Most bars: mermaid draws no text of more than 50 000 characters (`maxTextSize`).
const MOST_BARS: usize = 100;
/// Most characters of a name.
const MOST_NAME_CHARS: usize = 60;
/// Longer than any job may take: what lies outside is drawn at the edge.
const LONGEST_MS: u64 = 7 * 86_400_000;
/// What is said of a bar whose end is not known.
const END_UNKNOWN: &str = " (end not known)";

/// How what a bar stands for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Without a failure.
    Done,
    /// With one.
    Failed,
    /// Not yet.
    Running,
    /// It is over, and nothing says when or how.
    Unknown,
}

/// A bar.
#[derive(Debug, Clone, Copy)]
pub struct Bar<'a> {
    /// Any text.
    pub name: &'a str,
    /// Milliseconds since 1970.
    pub start_unix_ms: u64,
    /// The same; `None` while it runs, or if it is not known: the bar is drawn to the timeline's end.
    pub end_unix_ms: Option<u64>,
    /// How it ended.
    pub state: State,
}

/// A timeline.
#[derive(Debug, Clone, Copy)]
pub struct Gantt<'a> {
    /// Its beginning, milliseconds since 1970.
    pub start_unix_ms: u64,
    /// Its end.
    pub end_unix_ms: u64,
    /// Bars by the titles of their sections. Titles are the caller's words.
    pub sections: &'a [(&'a str, Vec<Bar<'a>>)],
}

// === impl Gantt ===

impl Gantt<'_> {
    /// A fenced block. It has 100 bars at most; the number of others is said below it.
    pub fn markdown(&self) -> String {
        // Else mermaid marks the time at which somebody looks.
        let mut text = String::from(
            "```mermaid\ngantt\n  dateFormat x\n  axisFormat %H:%M:%S\n  todayMarker off\n",
        );
        let mut left = MOST_BARS;
        for (title, bars) in self.sections {
            if bars.is_empty() || left == 0 {
                continue;
            }
            // Writing to a string does not fail.
            writeln!(text, "  section {title}").ok();
            for bar in bars.iter().take(left) {
                self.write(&mut text, bar);
            }
            left = left.saturating_sub(bars.len());
        }
        text.push_str("```\n");
        let all: usize = self.sections.iter().map(|(_, bars)| bars.len()).sum();
        if all > MOST_BARS {
            writeln!(text, "\n{} bars are left out.", all - MOST_BARS).ok();
        }
        text
    }

    fn write(&self, text: &mut String, bar: &Bar<'_>) {
        let first = self.start_unix_ms.min(u64::MAX / 2);
        let last = self.end_unix_ms.clamp(first + 1, first + LONGEST_MS);
        let start = bar.start_unix_ms.clamp(first, last);
        // A bar of no length is drawn nowhere.
        let end = bar.end_unix_ms.unwrap_or(last).clamp(start, last).max(start + 1);
        let (tag, said) = match bar.state {
            State::Failed => ("crit, ", ""),
            State::Running => ("active, ", ""),
            State::Done => ("done, ", ""),
            State::Unknown => ("", END_UNKNOWN),
        };
        writeln!(text, "  {}{said} :{tag}{start}, {end}", name(bar.name)).ok();
    }
}

/// Letters, digits and a few marks stay, all others become a dot. Nothing of the language begins with
/// the first mark.
fn name(text: &str) -> String {
    let plain = |letter: char| {
        let is_kept = letter.is_alphanumeric()
            || matches!(letter, ' ' | '.' | '-' | '_' | '/' | '(' | ')' | '+' | '@' | '…');
        if is_kept { letter } else { '·' }
    };
    let kept: String = one_line(text, MOST_NAME_CHARS).chars().map(plain).collect();
    format!("› {}", kept.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar(name: &str, start_unix_ms: u64, end_unix_ms: Option<u64>) -> Bar<'_> {
        Bar { name, start_unix_ms, end_unix_ms, state: State::Done }
    }

    fn drawn(sections: &[(&str, Vec<Bar<'_>>)]) -> String {
        Gantt { start_unix_ms: 1000, end_unix_ms: 5000, sections }.markdown()
    }

    #[test]
    fn bars_are_within_the_timeline_and_have_a_length() {
        let failed = Bar { state: State::Failed, ..bar("make", 3000, Some(2000)) };
        let running = Bar { state: State::Running, ..bar("job", 0, None) };
        let later = bar("late", u64::MAX, Some(u64::MAX));
        let lost = Bar { state: State::Unknown, ..bar("lost", 4000, None) };
        let sections = [
            ("Steps", vec![failed, later, lost]),
            ("Empty", vec![]),
            ("Containers", vec![running]),
        ];
        assert_eq!(
            drawn(&sections),
            "```mermaid\ngantt\n  dateFormat x\n  axisFormat %H:%M:%S\n  todayMarker off\n  section Steps\n  › make :crit, 3000, 3001\n  › late :done, 5000, 5001\n  › lost (end not known) :4000, 5000\n  section Containers\n  › job :active, 1000, 5000\n```\n"
        );
    }

    #[test]
    fn of_more_bars_than_are_drawn_the_number_is_said() {
        let many = vec![bar("x", 1000, None); 70];
        let text = drawn(&[("A", many.clone()), ("B", many)]);
        assert_eq!(text.matches("  › x :").count(), MOST_BARS);
        assert!(text.ends_with("```\n\n40 bars are left out.\n"), "{text}");
    }

    #[test]
    fn names_are_no_words_of_the_language() {
        for (hostile, shown) in [
            ("title: x; %%{init}%% #35;", "› title· x· ···init··· ·35·"),
            ("```\nsection", "› ····section"),
            ("2026-01-01", "› 2026-01-01"),
            ("", "› "),
        ] {
            assert_eq!(name(hostile), shown);
        }
    }

    proptest! {
        /// By the lexer's rules: up to the colon of its own no mark of the language is in a line.
        #[test]
        fn every_name_is_one_line_of_one_bar(hostile in "\\PC{0,90}|[%#;:\\n`{}\"<>a ]{0,90}") {
            let text = drawn(&[("S", vec![bar(&hostile, 2000, Some(3000))])]);
            let line = text.lines().nth(6).unwrap();
            let (shown, rest) = line.split_once(" :").unwrap();
            prop_assert_eq!(rest, "done, 2000, 3000");
            prop_assert!(shown.starts_with("  › "));
            let marks = ['%', '#', ';', ':', '`', '{', '"', '<', '>', '\r'];
            prop_assert_eq!(shown.find(marks), None);
            prop_assert_eq!(text.lines().count(), 8);
        }
    }
}

//! The hook's output. The runner shows it line by line and executes workflow commands in it.

use std::cell::Cell;
use std::io::{self, Write};

/// Standard output and error, shared by a step's output and the hook's own messages.
#[derive(Debug)]
pub(super) struct Console {
    /// Whether the last line of standard output is incomplete.
    mid_line: Cell<bool>,
}

// === impl Console ===

impl Console {
    pub(super) fn new() -> Self {
        Self { mid_line: Cell::new(false) }
    }

    /// Writes a step's output unchanged.
    pub(super) fn stdout(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.mid_line.set(*last != b'\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes a step's error output unchanged.
    #[expect(clippy::unused_self, reason = "beside `stdout`, so that all output goes through here")]
    pub(super) fn stderr(&self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    /// Writes a plain line.
    pub(super) fn line(&self, text: &str) {
        let start = if self.mid_line.get() { "\n" } else { "" };
        // If the output is closed, nothing can be shown; the exit code still reports the result.
        drop(self.stdout(format!("{start}{text}\n").as_bytes()));
    }

    /// An error: shown in red, and on the page of the run.
    pub(super) fn error(&self, sentence: &str) {
        self.line(&format!("::error::{}", escape(sentence)));
    }

    /// A warning: shown in yellow, and on the page of the run.
    pub(super) fn warning(&self, sentence: &str) {
        self.line(&format!("::warning::{}", escape(sentence)));
    }

    /// A notice: shown on the page of the run.
    pub(super) fn notice(&self, sentence: &str) {
        self.line(&format!("::notice::{}", escape(sentence)));
    }

    /// A debug message: shown if debug logging of the workflow is enabled.
    pub(super) fn debug(&self, sentence: &str) {
        self.line(&format!("::debug::{}", escape(sentence)));
    }

    /// Has the runner mask a value in the rest of the job's log. It does not show this line.
    pub(super) fn mask(&self, value: &str) {
        self.line(&format!("::add-mask::{}", escape(value)));
    }

    /// Begins a collapsible group of lines.
    pub(super) fn group(&self, title: &str) {
        self.line(&format!("::group::{}", escape(title)));
    }

    /// Ends the group.
    pub(super) fn end_group(&self) {
        self.line("::endgroup::");
    }
}

/// Encodes data for a workflow command (actions/runner, `ActionCommand.cs`).
fn escape(text: &str) -> String {
    text.trim_end().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Makes text from other sources safe for a message: one line, limited in length, without control
/// characters.
pub(super) fn quote(text: &str) -> String {
    const MOST_CHARS: usize = 400;
    quote_most(text, MOST_CHARS)
}

/// The same with another limit, in characters.
pub(super) fn quote_most(text: &str, most: usize) -> String {
    let mut chars = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut quoted: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_cannot_begin_a_command_of_its_own() {
        assert_eq!(escape("50 %\r\n::set-output::\n"), "50 %25%0D%0A::set-output::");
        assert_eq!(quote(" a\n::error::b\x1b[2J "), "a ::error::b [2J");
        assert_eq!(quote(&"x".repeat(1000)).chars().count(), 401);
    }
}

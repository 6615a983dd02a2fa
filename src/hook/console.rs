//! What the hook prints. The runner shows it line by line and obeys workflow commands in it.

use std::cell::Cell;
use std::io::{self, Write};

/// Standard output and error, shared by a step's output and the hook's own sentences.
#[derive(Debug)]
pub(super) struct Console {
    /// Whether a line of standard output is unfinished.
    mid_line: Cell<bool>,
}

// === impl Console ===

impl Console {
    pub(super) fn new() -> Self {
        Self { mid_line: Cell::new(false) }
    }

    /// A step's bytes, as they came.
    pub(super) fn stdout(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.mid_line.set(*last != b'\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// A step's bytes, as they came.
    #[expect(clippy::unused_self, reason = "beside `stdout`, so that all output goes through here")]
    pub(super) fn stderr(&self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    /// A plain line.
    pub(super) fn line(&self, text: &str) {
        let start = if self.mid_line.get() { "\n" } else { "" };
        // Where nobody reads, nobody misses it; the exit code says what matters.
        drop(self.stdout(format!("{start}{text}\n").as_bytes()));
    }

    /// Shown in red, and on the run's page.
    pub(super) fn error(&self, sentence: &str) {
        self.line(&format!("::error::{}", escape(sentence)));
    }

    /// Shown in yellow, and on the run's page.
    pub(super) fn warning(&self, sentence: &str) {
        self.line(&format!("::warning::{}", escape(sentence)));
    }

    /// Shown on the run's page.
    pub(super) fn notice(&self, sentence: &str) {
        self.line(&format!("::notice::{}", escape(sentence)));
    }

    /// Shown where the workflow is debugged.
    pub(super) fn debug(&self, sentence: &str) {
        self.line(&format!("::debug::{}", escape(sentence)));
    }

    /// Begins a fold.
    pub(super) fn group(&self, title: &str) {
        self.line(&format!("::group::{}", escape(title)));
    }

    /// Ends it.
    pub(super) fn end_group(&self) {
        self.line("::endgroup::");
    }
}

/// The runner's encoding of a command's data (`ActionCommand.cs`).
fn escape(text: &str) -> String {
    text.trim_end().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text of others in a sentence of ours: one line, bounded, nothing that steers a terminal.
pub(super) fn quote(text: &str) -> String {
    const MOST_CHARS: usize = 400;
    quote_most(text, MOST_CHARS)
}

/// The same with another bound, in characters.
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

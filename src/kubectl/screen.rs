//! Standard output: whether it is a terminal, its size and its colours.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use ephemon_client::Trouble;
use serde::Serialize;

use crate::cut::cut_painted;
use crate::failure::Failure;

/// Characters of a line, where there is no terminal that says it.
const WIDTH: usize = 120;

/// What a text means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Strong,
    Quiet,
    Good,
    Bad,
    Warning,
    Live,
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    is_terminal: bool,
    has_colours: bool,
}

// === impl Tone ===

impl Tone {
    /// Of a result.
    pub(crate) fn of_result(result: &str) -> Self {
        match result {
            "running" | "ending" => Self::Live,
            "success" => Self::Good,
            "failure" | "error" | "timeout" => Self::Bad,
            "cancellation" => Self::Warning,
            _ => Self::Quiet,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Quiet => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
            Self::Live => "36",
        }
    }
}

// === impl Screen ===

impl Screen {
    /// The process's own. `NO_COLOR` takes the colours away (no-color.org).
    pub(crate) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { is_terminal, has_colours: is_terminal && !refused && !is_dumb }
    }

    /// Without a terminal.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { is_terminal: false, has_colours: false }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.is_terminal
    }

    /// The text in the colour of what it means.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code() {
            "" => text.to_owned(),
            _ if !self.has_colours || text.is_empty() => text.to_owned(),
            code => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    /// Columns and rows; no rows where there is no terminal.
    pub(crate) fn size(self) -> (usize, Option<usize>) {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.is_terminal);
        match size {
            Some(size) if size.ws_col > 0 => {
                (size.ws_col.into(), (size.ws_row > 0).then_some(size.ws_row.into()))
            }
            _ => (WIDTH, None),
        }
    }

    /// Puts a picture in place of the one before, as far as the terminal has room; without a terminal
    /// after it.
    pub(crate) fn draw(self, picture: &str) -> Result<(), Failure> {
        if !self.is_terminal {
            return print(&format!("{picture}\n"));
        }
        let rows = self.size().1.unwrap_or(usize::MAX).saturating_sub(1).max(1);
        let lines = picture.lines().count();
        let shown = if lines > rows { rows.saturating_sub(1) } else { lines };
        let mut text = "\u{1b}[H".to_owned();
        let columns = self.size().0;
        for line in picture.lines().take(shown) {
            text.push_str(&cut_painted(line, columns));
            text.push_str("\u{1b}[K\n");
        }
        if shown < lines {
            let more = format!("… {} more lines", lines.saturating_sub(shown));
            text.push_str(&self.paint(Tone::Quiet, &more));
            text.push_str("\u{1b}[K\n");
        }
        print(&(text + "\u{1b}[J"))
    }

    /// Makes room for [`Self::draw`].
    pub(crate) fn clear(self) -> Result<(), Failure> {
        if self.is_terminal { print("\u{1b}[H\u{1b}[2J") } else { Ok(()) }
    }
}

/// Writes to standard output. A reader that closes the pipe early has what it wants:
/// [`Failure::is_closed`].
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    Ok(output.write_all(text.as_bytes()).and_then(|()| output.flush())?)
}

/// Writes JSON. Hidden characters are escaped, which means the same.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    print(&(escaped(&text) + "\n"))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        // Line ends are the form's own: those in texts are escaped already.
        if letter == '\n' || !ephemon_base::visible::is_hidden(letter) {
            safe.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            write!(safe, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    safe
}

/// Names the nodes whose jobs are missing, on standard error.
pub(crate) fn tell(troubles: &[Trouble]) {
    for trouble in troubles {
        warn(&trouble.to_string());
    }
}

/// Says on standard error what is missing.
#[expect(clippy::print_stderr, reason = "what is missing stands beside what is shown")]
pub(crate) fn warn(what: &str) {
    eprintln!("ephemon: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Screen::plain().paint(Tone::Bad, "x"), "x");
        let screen = Screen { is_terminal: true, has_colours: true };
        assert_eq!(screen.paint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(screen.paint(Tone::Plain, "x"), "x");
    }

    #[test]
    fn json_has_no_character_that_moves_a_terminal() {
        let text =
            escaped(&serde_json::to_string_pretty(&["\u{9b}\u{202e}\u{e0041}\u{7}é"]).unwrap());
        assert_eq!(text, "[\n  \"\\u009b\\u202e\\udb40\\udc41\\u0007é\"\n]");
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, ["\u{9b}\u{202e}\u{e0041}\u{7}é"]);
    }
}

//! The last lines of a job's logs.

use ephemon_logs::TailLine;
use ephemon_model::LogStream;
use ephemon_sanitize::Severity;
use serde::Serialize;

use super::VERSION;

/// About the bytes of all lines of an answer, as JSON.
const MAX_BYTES: usize = 512 * 1024;
/// Bytes of a line's JSON beside its text.
const LINE_BYTES: usize = 160;

/// Lines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogAnswer {
    pub(crate) api_version: &'static str,
    /// Whether the agent shows log lines at all.
    pub(crate) served: bool,
    /// Why it does not.
    pub(crate) reason: Option<&'static str>,
    /// In order.
    pub(crate) lines: Vec<LineView>,
    /// The number to ask for next: lines after it are new.
    pub(crate) next_after: u64,
    /// Lines that were asked for and are not here.
    pub(crate) left_out: u64,
}

/// A line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineView {
    pub(crate) sequence: u64,
    pub(crate) container: String,
    pub(crate) at_unix_ms: u64,
    /// `stdout`, `stderr` or `unknown`.
    pub(crate) stream: &'static str,
    /// `debug`, `notice`, `warning` or `error`; `null` for a plain line.
    pub(crate) severity: Option<&'static str>,
    /// As it was exported: masked.
    pub(crate) text: String,
    /// Bytes that are missing at the end of the text.
    pub(crate) cut_bytes: usize,
}

// === impl LogAnswer ===

impl LogAnswer {
    /// Nothing, and why.
    pub(crate) fn none(reason: &'static str) -> Self {
        let reason = Some(reason);
        let (lines, next_after, left_out) = (Vec::new(), 0, 0);
        Self { api_version: VERSION, served: false, reason, lines, next_after, left_out }
    }

    /// The last of these lines, as far as there is room. `all`: they are those of all containers that
    /// are still there, so numbers that are missing are of lines that were dropped.
    pub(crate) fn new(lines: &[TailLine], after: u64, all: bool) -> Self {
        let next_after = lines.last().map_or(after, |line| line.sequence);
        let found = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let wanted = if all { next_after.saturating_sub(after) } else { found };
        let mut room = MAX_BYTES;
        let fits = |line: &&TailLine| {
            let bytes = LINE_BYTES + encoded_bytes(&line.text) + encoded_bytes(&line.container);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        let mut lines: Vec<LineView> =
            lines.iter().rev().take_while(fits).map(LineView::from).collect();
        lines.reverse();
        let left_out = wanted.saturating_sub(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Self { api_version: VERSION, served: true, reason: None, lines, next_after, left_out }
    }
}

impl From<&TailLine> for LineView {
    fn from(line: &TailLine) -> Self {
        Self {
            sequence: line.sequence,
            container: line.container.to_string(),
            at_unix_ms: line.at_ms,
            stream: match line.stream {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
                LogStream::Unknown => "unknown",
            },
            severity: match line.severity {
                Severity::Unspecified => None,
                Severity::Debug => Some("debug"),
                Severity::Notice => Some("notice"),
                Severity::Warning => Some("warning"),
                Severity::Error => Some("error"),
            },
            text: line.text.to_string(),
            cut_bytes: line.cut_bytes,
        }
    }
}

/// Bytes of a text in JSON: control characters take six.
fn encoded_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64, text: &str) -> TailLine {
        TailLine {
            sequence,
            container: "job".into(),
            at_ms: 1,
            stream: LogStream::Stderr,
            severity: Severity::Error,
            text: text.into(),
            cut_bytes: 0,
        }
    }

    #[test]
    fn an_answer_has_the_last_lines_that_fit_and_says_where_to_go_on() {
        let lines: Vec<_> = (1..=200).map(|number| line(number, &"\u{1}".repeat(2000))).collect();
        let answer = LogAnswer::new(&lines, 0, true);
        let text = serde_json::to_string(&answer).unwrap();
        assert!(text.len() <= MAX_BYTES + 1000, "{}", text.len());
        assert_eq!((answer.lines.last().unwrap().sequence, answer.next_after), (200, 200));
        assert!(answer.lines.len() < 200 && answer.lines.len() > 20);
        assert_eq!(LogAnswer::new(&[], 7, true).next_after, 7);
        assert_eq!(answer.left_out + answer.lines.len() as u64, 200);
        let later = [line(5, "a"), line(9, "b")];
        assert_eq!(LogAnswer::new(&later, 3, true).left_out, 4, "6 to 8, and 4, were dropped");
        assert_eq!(LogAnswer::new(&later, 3, false).left_out, 0, "they may be of other containers");
    }
}

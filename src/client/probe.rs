//! Whether an agent is ready, and what its metrics have of one name: for checks in scripts.

use http_body_util::BodyExt as _;

use ephemon_base::visible;

use crate::agent::Agent;
use crate::connection::{ANSWER_TIMEOUT, Stream, within};
use crate::error::{Error, shortened};

/// The largest text of `/metrics` that is read. An agent's is up to 60 MB with `--max-ended` 10 000.
const METRICS_LIMIT: usize = 128 << 20;
/// The longest line that is looked at; longer ones are skipped.
const LINE_LIMIT: usize = 16 << 10;

/// The lines of an exposition as they come, of which the first sample of a name is kept.
struct Search<'a> {
    name: &'a str,
    line: Vec<u8>,
    found: Option<String>,
}

// === impl Agent ===

impl Agent {
    /// Whether it is ready, by `/readyz`, which it answers without a password and without TLS.
    ///
    /// # Errors
    /// What it still waits for, or why it cannot be asked.
    pub async fn ready(&self) -> Result<(), Error> {
        let response = self.connections().get("/readyz").await?;
        let text = String::from_utf8_lossy(&response.body);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match (response.status, text.as_str()) {
            (200, "ready") => Ok(()),
            (200, _) => Err(Error::NoAgent),
            (status, text) => Err(Error::Refused { status, text: shortened(text) }),
        }
    }

    /// The first sample of a name on `/metrics`, as Prometheus' text has it. The agent counts the client
    /// as a scraper, as it does every client that asks for its metrics.
    ///
    /// # Errors
    /// There is none, the agent demands a password or TLS, or it cannot be asked.
    pub async fn sample(&self, name: &str) -> Result<String, Error> {
        let stream = self.connections().stream("/metrics").await?;
        match stream.status.as_u16() {
            200 => within(ANSWER_TIMEOUT, searched(stream, name)).await,
            401 | 403 => Err(Error::Password),
            400 => Err(Error::Refused { status: 400, text: "it may demand TLS for them".into() }),
            status => Err(Error::Refused { status, text: "it shows no metrics".into() }),
        }
    }
}

/// Reads all of the text, so that the agent has delivered it.
async fn searched(mut stream: Stream, name: &str) -> Result<String, Error> {
    let mut search = Search::new(name);
    let mut taken = 0_usize;
    while let Some(frame) = stream.body.frame().await {
        let Ok(data) = frame.map_err(|error| Error::http(&error))?.into_data() else { continue };
        taken = taken.saturating_add(data.len());
        if taken > METRICS_LIMIT {
            return Err(Error::TooLarge(METRICS_LIMIT));
        }
        search.feed(&data);
    }
    search.found.ok_or_else(|| Error::NoSample(visible(name)))
}

// === impl Search ===

impl<'a> Search<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, line: Vec::new(), found: None }
    }

    /// The next bytes. A last line without its end is no line: the text was cut.
    fn feed(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if self.found.is_some() {
                return;
            }
            // One byte more than may be says that it is too long.
            let room = (LINE_LIMIT + 1).saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.found = self.sample(&line);
            }
        }
    }

    fn sample(&self, line: &[u8]) -> Option<String> {
        let line = line.strip_suffix(b"\n")?;
        let rest = line.strip_prefix(self.name.as_bytes())?;
        let is_name = rest.starts_with(b"{") || rest.starts_with(b" ");
        is_name.then(|| visible(&String::from_utf8_lossy(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP up Up.\n# TYPE up gauge\nup_total 1\nup{node=\"a\u{1b}\"} 1\nup 2\n";

    fn found(name: &str, pieces: &[&[u8]]) -> Option<String> {
        let mut search = Search::new(name);
        for piece in pieces {
            search.feed(piece);
        }
        search.found
    }

    #[test]
    fn the_first_sample_of_the_name_is_found_however_the_text_is_cut() {
        let text = TEXT.as_bytes();
        for cut in 0..text.len() {
            let (one, two) = text.split_at(cut);
            assert_eq!(found("up", &[one, two]).as_deref(), Some("up{node=\"a␛\"} 1"));
        }
        assert_eq!(found("up_total", &[text]).as_deref(), Some("up_total 1"));
        assert_eq!(found("u", &[text]), None);
        assert_eq!(found("TYPE", &[text]), None);
        assert_eq!(found("up", &[b"up 1"]), None, "it may be cut within the value");
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_is_skipped() {
        let mut search = Search::new("up");
        search.feed(b"up{x=\"");
        for _ in 0..100 {
            search.feed(&[b'y'; 4096]);
        }
        assert_eq!(search.line.len(), LINE_LIMIT + 1);
        search.feed(b"\"} 1\nup 2\n");
        assert_eq!(search.found.as_deref(), Some("up 2"));
    }
}

//! A line about a step as the evidence store keeps it, and back. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::{StepLine, StepReading};
use super::figures::Figures;
use super::outcome::JobResult;
use super::runner_step::StepEvent;

/// A line about a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredStep {
    at_ns: u64,
    number: u64,
    event: Event,
    read_ns: Option<u64>,
    #[serde(default)]
    figures: Figures,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Began { name: String },
    Queued { id: String },
    Ended { result: Option<String> },
    BackgroundEnded { id: String, result: String },
    Exited { name: String, code: i32 },
}

// === impl StoredStep ===

impl StoredStep {
    pub(super) fn of(line: &StepLine) -> Self {
        let owned = |text: &Arc<str>| text.to_string();
        let word = |result: JobResult| result.as_str().to_owned();
        Self {
            at_ns: line.at_ns,
            number: line.number,
            event: match &line.event {
                StepEvent::Began { name } => Event::Began { name: owned(name) },
                StepEvent::Queued { id } => Event::Queued { id: owned(id) },
                StepEvent::Ended { result } => Event::Ended { result: result.map(word) },
                StepEvent::BackgroundEnded { id, result } => {
                    Event::BackgroundEnded { id: owned(id), result: word(*result) }
                }
                StepEvent::Exited { name, code } => {
                    Event::Exited { name: owned(name), code: *code }
                }
            },
            read_ns: line.reading.map(|reading| reading.at_ns),
            figures: line.reading.map(|reading| reading.figures).unwrap_or_default(),
        }
    }

    /// None of what this agent does not understand.
    pub(super) fn line(self) -> Option<StepLine> {
        let figures = self.figures;
        let event = match self.event {
            Event::Began { name } => StepEvent::Began { name: name.into() },
            Event::Queued { id } => StepEvent::Queued { id: id.into() },
            Event::Ended { result: None } => StepEvent::Ended { result: None },
            Event::Ended { result: Some(word) } => {
                StepEvent::Ended { result: Some(result(&word)?) }
            }
            Event::BackgroundEnded { id, result: word } => {
                StepEvent::BackgroundEnded { id: id.into(), result: result(&word)? }
            }
            Event::Exited { name, code } => StepEvent::Exited { name: name.into(), code },
        };
        Some(StepLine {
            at_ns: self.at_ns,
            number: self.number,
            event,
            reading: self.read_ns.map(|at_ns| StepReading { at_ns, figures }),
        })
    }
}

fn result(word: &str) -> Option<JobResult> {
    JobResult::ALL.into_iter().find(|result| result.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_back_as_it_was() {
        let id = || Arc::from("db");
        let figures = Figures { cpu_ns: Some(7), read_bytes: None, ..Figures::default() };
        let reading = Some(StepReading { at_ns: 12, figures });
        for (event, reading) in [
            (StepEvent::Began { name: "Run \"x\"\u{2028}".into() }, reading),
            (StepEvent::Queued { id: id() }, None),
            (StepEvent::Ended { result: None }, None),
            (StepEvent::Ended { result: Some(JobResult::Skip) }, reading),
            (StepEvent::BackgroundEnded { id: id(), result: JobResult::Failure }, None),
            (StepEvent::Exited { name: "step_script".into(), code: -1 }, reading),
        ] {
            let line = StepLine { at_ns: 3, number: 4, event, reading };
            let text = serde_json::to_string(&StoredStep::of(&line)).unwrap();
            let read: StoredStep = serde_json::from_str(&text).unwrap();
            assert_eq!(read.line(), Some(line), "{text}");
        }
    }
}

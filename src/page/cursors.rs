//! What changes when something that the page shows changes, for the stream of events. Pure.

use serde::Serialize;

/// Numbers that differ from earlier ones when there is something new to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursors {
    /// Of the list of jobs.
    pub(crate) jobs: u64,
    /// Of the job that is asked for, while it is shown.
    pub(crate) job: Option<u64>,
    /// Of its samples.
    pub(crate) samples: Option<u64>,
    /// Of its log: the number of its last line.
    pub(crate) log: Option<u64>,
}

// === impl Cursors ===

impl Cursors {
    /// The event that says them, as a client reads it (HTML standard, "Server-sent events").
    pub fn event(&self) -> String {
        let data = serde_json::to_string(self).unwrap_or_default();
        format!("event: change\ndata: {data}\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let cursors = Cursors { jobs: 1, job: Some(2), samples: None, log: Some(9) };
        assert_eq!(
            cursors.event(),
            "event: change\ndata: {\"jobs\":1,\"job\":2,\"samples\":null,\"log\":9}\n\n"
        );
    }
}

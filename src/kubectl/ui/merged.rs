//! The lists of all nodes as one, as the job page reads it. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use bytes::Bytes;
use ephemon_client::{Agent, JobSummary, Listing};
use serde::Serialize;

/// Most jobs of the list.
const JOB_LIMIT: usize = 1000;

/// One list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    /// As JSON, without its clock.
    rest: String,
    /// The latest of the agents' clocks, and when they were asked.
    clock_ms: u64,
    looked: Option<Instant>,
    /// Differs from that of a list with other jobs.
    pub(crate) change: u32,
    /// Whom to ask for a job, by its id.
    pub(crate) agents: HashMap<String, Agent>,
}

/// What `openapi.json` calls `Jobs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    node: &'a str,
    jobs: Vec<&'a JobSummary>,
    left_out: u64,
}

// === impl Merged ===

impl Merged {
    /// Of what all nodes have answered.
    pub(crate) fn new(listing: &Listing) -> Self {
        let shown: Vec<_> = listing.jobs.iter().take(JOB_LIMIT).collect();
        let jobs: Vec<_> = shown.iter().map(|job| &job.summary).collect();
        let left = u64::try_from(listing.jobs.len().saturating_sub(jobs.len())).unwrap_or(u64::MAX);
        let mut hasher = DefaultHasher::new();
        // Texts and numbers can always be written.
        serde_json::to_vec(&jobs).unwrap_or_default().hash(&mut hasher);
        let [.., a, b, c, d] = hasher.finish().to_be_bytes();
        let node = nodes(listing);
        let answer = Answer { node: &node, jobs, left_out: listing.left_out.saturating_add(left) };
        let rest = serde_json::to_string(&answer).unwrap_or_default();
        let agents = shown.iter().map(|job| (job.summary.id.clone(), job.agent.clone()));
        Self {
            rest,
            clock_ms: listing.clock_ms,
            looked: Some(Instant::now()),
            change: u32::from_be_bytes([a, b, c, d]),
            agents: agents.collect(),
        }
    }

    /// As JSON. The clock goes on between two looks.
    pub(crate) fn body(&self) -> Bytes {
        let since = self.looked.map(|at| at.elapsed()).unwrap_or_default();
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.clock_ms.saturating_add(since_ms);
        let rest = self.rest.strip_prefix('{').unwrap_or("}");
        format!("{{\"apiVersion\":\"v1\",\"nowUnixMs\":{now_ms},{rest}").into()
    }
}

/// What stands where a node's own page has its name.
fn nodes(listing: &Listing) -> String {
    let s = |count| if count == 1 { "" } else { "s" };
    let (answered, missing) = (listing.answered, listing.troubles.len());
    let all = format!("{answered} node{}", s(answered));
    if missing == 0 { all } else { format!("{all}, {missing} not reached") }
}

#[cfg(test)]
mod tests {
    use ephemon_client::Trouble;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_list_says_of_how_many_nodes_it_is_and_whether_it_has_changed() {
        let mut listing =
            Listing { answered: 2, left_out: 3, clock_ms: 7000, ..Listing::default() };
        let empty = Merged::new(&listing);
        let body: Value = serde_json::from_slice(&empty.body()).unwrap();
        let now = |body: &Value| body["nowUnixMs"].as_u64().unwrap();
        assert!(body["apiVersion"] == "v1" && now(&body) >= 7000, "{body}");
        assert_eq!((&body["node"], &body["leftOut"]), (&"2 nodes".into(), &3.into()));
        assert_eq!(body["jobs"], serde_json::json!([]));
        listing.troubles.push(Trouble { node: "n3".into(), why: "it is away".into() });
        let again = Merged::new(&listing);
        assert_eq!(again.change, empty.change);
        let body: Value = serde_json::from_slice(&again.body()).unwrap();
        assert_eq!(body["node"], "2 nodes, 1 not reached");
    }
}

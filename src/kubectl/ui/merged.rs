//! The lists of all nodes as one, as the job page reads it. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use ephemon_client::{Agent, JobSummary, Listing};
use serde::Serialize;

/// Most jobs of the list.
const JOB_LIMIT: usize = 1000;

/// One list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    /// As JSON.
    pub(crate) body: Bytes,
    /// Differs from that of a list with other jobs.
    pub(crate) change: u32,
    /// Whom to ask for a job, by its id.
    pub(crate) agents: HashMap<String, Agent>,
}

/// What `openapi.json` calls `Jobs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    now_unix_ms: u64,
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
        let answer = Answer {
            api_version: "v1",
            now_unix_ms: shown.iter().map(|job| job.now_unix_ms).max().unwrap_or_default(),
            node: &node,
            jobs,
            left_out: listing.left_out.saturating_add(left),
        };
        let body = serde_json::to_vec(&answer).unwrap_or_default().into();
        let agents = shown.iter().map(|job| (job.summary.id.clone(), job.agent.clone()));
        Self { body, change: u32::from_be_bytes([a, b, c, d]), agents: agents.collect() }
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
        let mut listing = Listing { answered: 2, left_out: 3, ..Listing::default() };
        let empty = Merged::new(&listing);
        let body: Value = serde_json::from_slice(&empty.body).unwrap();
        assert_eq!((&body["node"], &body["leftOut"]), (&"2 nodes".into(), &3.into()));
        assert_eq!(body["jobs"], serde_json::json!([]));
        listing.troubles.push(Trouble { node: "n3".into(), why: "it is away".into() });
        let again = Merged::new(&listing);
        assert_eq!(again.change, empty.change);
        let body: Value = serde_json::from_slice(&again.body).unwrap();
        assert_eq!(body["node"], "2 nodes, 1 not reached");
    }
}

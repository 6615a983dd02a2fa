//! All agents that are asked, and what they say together.

use std::collections::HashSet;
use std::time::Duration;

use ephemon_base::visible;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use thiserror::Error as ThisError;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::answer::jobs::JobSummary;
use crate::cluster;
use crate::error::Error;
use crate::source::Source;
use crate::trouble::Trouble;

/// Longest wait for one agent's list, the connection included: the others' do not wait for it.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Agents that are asked at one time.
const AT_ONCE: usize = 16;
/// Most jobs that a message names.
const NAMED: usize = 5;

/// Agents, and nodes whose agents cannot be asked.
#[derive(Debug, Clone)]
pub struct Fleet {
    agents: Vec<Agent>,
    troubles: Vec<Trouble>,
    namespace: Option<String>,
}

/// The jobs of all nodes.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those under way first, and of each kind the one that began last.
    pub jobs: Vec<Listed>,
    /// Nodes whose jobs are missing.
    pub troubles: Vec<Trouble>,
    /// Jobs for which there was no room in the agents' answers.
    pub left_out: u64,
    /// Agents that have answered.
    pub answered: usize,
    /// The latest of their clocks, milliseconds since 1970; 0 if none has answered.
    pub clock_ms: u64,
}

/// A job with the agent that shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The node's name.
    pub node: String,
    /// The job.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// The agent's clock.
    #[serde(rename = "nowUnixMs")]
    pub now_unix_ms: u64,
    /// Whom to ask for more.
    #[serde(skip)]
    pub agent: Agent,
}

/// There is no such job, or not only one.
#[derive(Debug, ThisError)]
pub enum FindError {
    /// None.
    #[error(
        "no job {0} is shown: there is none with this id, pod or run, or it ended over an hour ago; \
         `jobs` lists them{1}"
    )]
    None(String, &'static str),
    /// Nobody has answered.
    #[error("job {0} is not found: no agent has answered; the lines on standard error say why")]
    Silence(String),
    /// Several, where one is needed.
    #[error("{count} jobs are called {wanted}; name one by its id or pod: {names}")]
    Several {
        /// What was asked for.
        wanted: String,
        /// How many.
        count: usize,
        /// Some of them.
        names: String,
    },
}

// === impl Fleet ===

impl Fleet {
    /// Finds the agents; does not ask them yet.
    pub async fn connect(source: &Source) -> Result<Self, cluster::Error> {
        let namespace = source.namespace.clone();
        if !source.agent.is_empty() {
            let agents = source.agent.iter().map(Agent::at).collect();
            return Ok(Self { agents, troubles: Vec::new(), namespace });
        }
        let (agents, troubles) = cluster::agents(source).await?;
        Ok(Self { agents, troubles, namespace })
    }

    /// Those that can be asked.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The jobs of all nodes, of the namespace that was chosen.
    pub async fn jobs(&self) -> Listing {
        let ask = |agent: Agent| async move {
            let answer = timeout(LIST_TIMEOUT, agent.jobs()).await;
            (answer.unwrap_or(Err(Error::Timeout(LIST_TIMEOUT.as_secs()))), agent)
        };
        let answers: Vec<_> =
            stream::iter(self.agents.iter().cloned().map(ask)).buffered(AT_ONCE).collect().await;
        let mut ids = HashSet::new();
        let mut listing = Listing { troubles: self.troubles.clone(), ..Listing::default() };
        for (answer, agent) in answers {
            match answer {
                Ok(answer) => {
                    listing.answered = listing.answered.saturating_add(1);
                    listing.left_out = listing.left_out.saturating_add(answer.left_out);
                    listing.clock_ms = listing.clock_ms.max(answer.now_unix_ms);
                    // Where its pod is the API server says, which the agent cannot.
                    let said = Some(answer.node).filter(|node| !node.is_empty());
                    let node = if agent.is_of_pod() { None } else { said };
                    let node = node.unwrap_or_else(|| agent.name().to_owned());
                    let now_unix_ms = answer.now_unix_ms;
                    let mut claimed = 0_usize;
                    for summary in answer.jobs {
                        if !ids.insert(summary.id.clone()) {
                            claimed = claimed.saturating_add(1);
                            continue;
                        }
                        let (node, agent) = (node.clone(), agent.clone());
                        listing.jobs.push(Listed { node, summary, now_unix_ms, agent });
                    }
                    if claimed > 0 {
                        let why = format!("{claimed} of its jobs are another agent's, too");
                        listing.troubles.push(Trouble { node, why });
                    }
                }
                Err(error) => {
                    let node = agent.name().to_owned();
                    listing.troubles.push(Trouble { node, why: error.to_string() });
                }
            }
        }
        if let Some(namespace) = &self.namespace {
            listing.jobs.retain(|job| job.summary.namespace == *namespace);
        }
        listing.sort();
        listing
    }

    /// The jobs that an id, a pod (also `NAMESPACE/POD`) or a run means; those with the id if there
    /// are such, else those of the pod, else those of the run. Never empty. The nodes that could not
    /// be asked are told beside.
    pub async fn find(&self, wanted: &str) -> (Result<Vec<Listed>, FindError>, Vec<Trouble>) {
        let Listing { jobs, troubles, answered, left_out, .. } = self.jobs().await;
        let found = matching(jobs, wanted);
        if found.is_empty() {
            let wanted = visible(wanted);
            let error = match (answered, troubles.is_empty(), left_out) {
                (0, false, _) => FindError::Silence(wanted),
                (_, false, _) => FindError::None(wanted, ". Some nodes could not be asked"),
                (_, true, 1..) => {
                    FindError::None(wanted, ". Some jobs are not listed for want of room")
                }
                _ => FindError::None(wanted, ""),
            };
            return (Err(error), troubles);
        }
        (Ok(found), troubles)
    }

    /// The same where only one job will do.
    pub async fn find_one(&self, wanted: &str) -> (Result<Listed, FindError>, Vec<Trouble>) {
        let (found, troubles) = self.find(wanted).await;
        (found.and_then(|found| only(found, wanted)), troubles)
    }
}

// === impl Listing ===

impl Listing {
    fn sort(&mut self) {
        self.troubles.sort_by(|a, b| a.node.cmp(&b.node));
        self.jobs.sort_by(|a, b| {
            let key =
                |job: &Listed| (!job.summary.ending.is_over(), job.summary.span.start_unix_ms);
            key(b).cmp(&key(a)).then_with(|| a.summary.id.cmp(&b.summary.id))
        });
    }
}

fn matching(jobs: Vec<Listed>, wanted: &str) -> Vec<Listed> {
    let is_pod = |job: &JobSummary| {
        job.pod == wanted
            || wanted
                .split_once('/')
                .is_some_and(|(namespace, pod)| (&*job.namespace, &*job.pod) == (namespace, pod))
    };
    let by: [&dyn Fn(&JobSummary) -> bool; 3] =
        [&|job| job.id == wanted, &is_pod, &|job| job.run_id.as_deref() == Some(wanted)];
    let which = by.into_iter().find(|by| jobs.iter().any(|job| by(&job.summary)));
    match which {
        Some(by) => jobs.into_iter().filter(|job| by(&job.summary)).collect(),
        None => Vec::new(),
    }
}

fn only(mut found: Vec<Listed>, wanted: &str) -> Result<Listed, FindError> {
    match found.pop() {
        Some(one) if found.is_empty() => Ok(one),
        last => {
            found.extend(last);
            let name = |job: &Listed| {
                format!("{}/{}", visible(&job.summary.namespace), visible(&job.summary.pod))
            };
            let names: Vec<String> = found.iter().take(NAMED).map(name).collect();
            let (wanted, count) = (visible(wanted), found.len());
            Err(FindError::Several { wanted, count, names: names.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::part::{Ending, Span};

    fn job(id: &str, namespace: &str, pod: &str, run: &str, result: &str, start: u64) -> Listed {
        let summary = JobSummary {
            id: id.into(),
            namespace: namespace.into(),
            pod: pod.into(),
            run_id: Some(run.into()),
            span: Span { start_unix_ms: start, ..Span::default() },
            ending: Ending { result: result.into(), ..Ending::default() },
            ..JobSummary::default()
        };
        let agent = Agent::at(&"x:1".parse().unwrap());
        Listed { node: "n".into(), now_unix_ms: 0, summary, agent }
    }

    fn jobs() -> Vec<Listed> {
        vec![
            job("u1", "a", "pod-1", "70", "success", 1),
            job("u2", "b", "pod-1", "70", "running", 2),
            job("u3", "b", "70", "71", "running", 3),
        ]
    }

    #[test]
    fn a_job_is_found_by_id_then_pod_then_run() {
        for (wanted, ids) in [
            ("u1", &["u1"][..]),
            ("pod-1", &["u1", "u2"]),
            ("b/pod-1", &["u2"]),
            // A pod's name goes before a run's.
            ("70", &["u3"]),
            ("71", &["u3"]),
            ("x", &[]),
        ] {
            let found = matching(jobs(), wanted);
            let found: Vec<_> = found.iter().map(|job| &*job.summary.id).collect();
            assert_eq!(found, ids, "{wanted}");
        }
    }

    #[test]
    fn where_one_is_needed_several_are_named() {
        let error = only(matching(jobs(), "pod-1"), "pod-1").unwrap_err().to_string();
        assert!(error.contains("2 jobs") && error.contains("a/pod-1, b/pod-1"), "{error}");
        assert_eq!(only(matching(jobs(), "u3"), "u3").unwrap().summary.id, "u3");
    }

    #[test]
    fn jobs_under_way_come_first_and_then_the_latest() {
        let mut listing = Listing { jobs: jobs(), ..Listing::default() };
        listing.sort();
        let ids: Vec<_> = listing.jobs.iter().map(|job| &*job.summary.id).collect();
        assert_eq!(ids, ["u3", "u2", "u1"]);
    }
}

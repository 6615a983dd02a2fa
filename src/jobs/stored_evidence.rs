//! Evidence as a line of text and back: what the evidence store keeps of it. Pure.
//!
//! Nothing here is sent to anybody: another version of the agent may find it, and leaves what it does
//! not understand.

use std::sync::Arc;

use ephemon_contract::Record;
use ephemon_discovery::inventory::SpecEntry;
use ephemon_discovery::pod_view::Purpose;
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid, PrePull, Quality};
use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Heard, Reading, Sighted};
use super::figures::Figures;
use super::outcome::JobResult;
use super::runner::Said;
use super::stored_ci::StoredCi;
use super::stored_step::StoredStep;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredEvidence {
    /// The first one: whose evidence follows.
    Pod {
        namespace: String,
        name: String,
        uid: String,
    },
    Spec(Entry),
    Container(Box<Kept>),
    Journal {
        file: String,
        at: u64,
        heard_ns: u64,
        record: Record,
    },
    PrePulled {
        container: String,
        start_ns: u64,
        end_ns: u64,
        bytes: Option<u64>,
    },
    Step(StoredStep),
    Running {
        at_ns: u64,
        name: String,
    },
    Completed {
        at_ns: u64,
        name: String,
        result: String,
    },
    Gone {
        at_ns: u64,
    },
    /// In the order of [`JobEnv`]'s fields.
    Job(Vec<Option<String>>),
    Member {
        namespace: String,
        name: String,
        uid: String,
        purpose: String,
        piece: Box<StoredEvidence>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    name: String,
    container_type: String,
    image: Option<String>,
    /// In the order of [`JobEnv`]'s fields. Fields that are missing at the end came later than the agent
    /// that wrote them.
    env: Option<Vec<Option<String>>>,
    /// What the pod of another CI system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ci: Option<StoredCi>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    id: String,
    name: String,
    container_type: String,
    image: Option<String>,
    born_ns: Option<u64>,
    ended_ns: Option<u64>,
    started_ns: Option<u64>,
    finished_ns: Option<u64>,
    exit: Option<(i32, String)>,
    read_ns: Option<u64>,
    figures: Figures,
    quality: Option<String>,
}

// === impl StoredEvidence ===

impl StoredEvidence {
    /// The first line of a pod's evidence.
    pub(super) fn of_pod(pod: &PodRef) -> Self {
        let PodRef { namespace, name, uid } = pod;
        Self::Pod { namespace: namespace.to_string(), name: name.to_string(), uid: uid.to_string() }
    }

    /// None of what is not kept.
    pub(super) fn of(evidence: &Evidence) -> Option<Self> {
        Some(match evidence {
            Evidence::Spec(entry) => Self::Spec(Entry::of(entry)),
            Evidence::Container(sighted) => Self::Container(Box::new(Kept::of(sighted))),
            Evidence::Journal(Heard { file, at, heard_ns, record }) => Self::Journal {
                file: file.to_string(),
                at: *at,
                heard_ns: *heard_ns,
                record: record.clone(),
            },
            Evidence::PrePulled(PrePull { container, start_ns, end_ns, bytes }) => {
                Self::PrePulled {
                    container: container.to_string(),
                    start_ns: *start_ns,
                    end_ns: *end_ns,
                    bytes: *bytes,
                }
            }
            Evidence::Step(line) => Self::Step(StoredStep::of(line)),
            Evidence::Runner { at_ns, said: Said::Running { name } } => {
                Self::Running { at_ns: *at_ns, name: name.to_string() }
            }
            Evidence::Runner { at_ns, said: Said::Completed { name, result } } => {
                let result = result.as_str().to_owned();
                Self::Completed { at_ns: *at_ns, name: name.to_string(), result }
            }
            Evidence::Gone { at_ns } => Self::Gone { at_ns: *at_ns },
            Evidence::Job(job) => Self::Job(fields(job)),
            Evidence::Member { pod, purpose, piece } => Self::Member {
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                uid: pod.uid.to_string(),
                purpose: purpose.as_str().to_owned(),
                piece: Box::new(Self::of(piece)?),
            },
            Evidence::Log { .. } => return None,
        })
    }

    /// With its newline.
    pub(super) fn to_line(&self) -> Option<Vec<u8>> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        Some(line)
    }

    /// The pod of a first line.
    pub(super) fn pod(self) -> Option<PodRef> {
        let Self::Pod { namespace, name, uid } = self else { return None };
        let uid = PodUid::parse(&uid).ok()?;
        Some(PodRef { namespace: namespace.into(), name: name.into(), uid })
    }

    /// The evidence of any other line.
    pub(super) fn evidence(self) -> Option<Evidence> {
        Some(match self {
            Self::Pod { .. } => return None,
            Self::Spec(entry) => Evidence::Spec(entry.into_entry()),
            Self::Container(kept) => Evidence::Container(Box::new(kept.sighted()?)),
            Self::Journal { file, at, heard_ns, record } => {
                Evidence::Journal(Heard { file: file.into(), at, heard_ns, record })
            }
            Self::PrePulled { container, start_ns, end_ns, bytes } => {
                let container = container.into();
                Evidence::PrePulled(PrePull { container, start_ns, end_ns, bytes })
            }
            Self::Step(step) => Evidence::Step(step.line()?),
            Self::Running { at_ns, name } => {
                Evidence::Runner { at_ns, said: Said::Running { name: name.into() } }
            }
            Self::Completed { at_ns, name, result } => {
                let name = name.into();
                let result = JobResult::ALL.into_iter().find(|it| it.as_str() == result)?;
                Evidence::Runner { at_ns, said: Said::Completed { name, result } }
            }
            Self::Gone { at_ns } => Evidence::Gone { at_ns },
            Self::Job(fields) => Evidence::Job(Arc::new(env(fields))),
            Self::Member { namespace, name, uid, purpose, piece } => {
                let uid = PodUid::parse(&uid).ok()?;
                let pod = PodRef { namespace: namespace.into(), name: name.into(), uid };
                let purpose = Purpose::ALL.into_iter().find(|it| it.as_str() == purpose)?;
                let piece = Box::new(piece.evidence()?);
                Evidence::Member { pod: Arc::new(pod), purpose, piece }
            }
        })
    }
}

// === impl Entry ===

impl Entry {
    fn of(entry: &SpecEntry) -> Self {
        Self {
            name: entry.name.to_string(),
            container_type: entry.container_type.as_str().to_owned(),
            image: entry.image.as_deref().map(str::to_owned),
            env: entry.job.as_deref().map(fields),
            ci: entry.job.as_deref().and_then(|job| job.ci.as_deref()).map(StoredCi::of),
        }
    }

    /// Without limits, which are no matter of jobs.
    fn into_entry(self) -> SpecEntry {
        let ci = self.ci.map(|ci| Arc::new(ci.into_ci()));
        SpecEntry {
            name: self.name.into(),
            container_type: container_type(&self.container_type),
            image: self.image.map(Arc::from),
            limits: None,
            wants_init: false,
            job: self.env.map(|fields| Arc::new(JobEnv { ci, ..env(fields) })),
        }
    }
}

fn fields(env: &JobEnv) -> Vec<Option<String>> {
    env.texts().into_iter().map(|field| field.map(ToString::to_string)).collect()
}

fn env(fields: Vec<Option<String>>) -> JobEnv {
    let mut fields = fields.into_iter().map(|field| field.map(Arc::from));
    let mut next = || fields.next().flatten();
    JobEnv {
        repository: next(),
        run_id: next(),
        run_attempt: next(),
        name: next(),
        workflow: next(),
        workflow_ref: next(),
        sha: next(),
        git_ref: next(),
        event: next(),
        runner: next(),
        role: next(),
        traceparent: next(),
        server_url: next(),
        display_name: next(),
        ci: None,
    }
}

// === impl Kept ===

impl Kept {
    fn of(sighted: &Sighted) -> Self {
        let reading = sighted.reading;
        let quality = reading.and_then(|reading| reading.quality);
        Self {
            id: sighted.id.to_string(),
            name: sighted.name.to_string(),
            container_type: sighted.container_type.as_str().to_owned(),
            image: sighted.image.as_deref().map(str::to_owned),
            born_ns: sighted.born_ns,
            ended_ns: sighted.ended_ns,
            started_ns: sighted.started_ns,
            finished_ns: sighted.finished_ns,
            exit: sighted.exit.as_ref().map(|exit| (exit.code, exit.reason.to_string())),
            read_ns: reading.map(|reading| reading.at_ns),
            figures: reading.map(|reading| reading.figures).unwrap_or_default(),
            quality: quality.map(|quality| quality.as_str().to_owned()),
        }
    }

    fn sighted(self) -> Option<Sighted> {
        let named = |text: &str| Quality::ALL.into_iter().find(|it| it.as_str() == text);
        let quality = self.quality.as_deref().and_then(named);
        let figures = self.figures;
        Some(Sighted {
            id: ContainerId::parse(&self.id).ok()?,
            name: self.name.into(),
            container_type: container_type(&self.container_type),
            image: self.image.map(Arc::from),
            born_ns: self.born_ns,
            ended_ns: self.ended_ns,
            started_ns: self.started_ns,
            finished_ns: self.finished_ns,
            exit: self.exit.map(|(code, reason)| Exit { code, reason: reason.into() }),
            reading: self.read_ns.map(|at_ns| Reading { at_ns, figures, quality }),
        })
    }
}

fn container_type(text: &str) -> ContainerType {
    use ContainerType::{
        Container, Ephemeral, Init, Nested, NestedBeside, SharedSandbox, Sidecar, Unknown,
    };
    // The sandbox of other pods is never kept.
    let all = [Container, Init, Sidecar, Ephemeral, SharedSandbox, Nested, NestedBeside];
    all.into_iter().find(|it| it.as_str() == text).unwrap_or(Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, pod, s};

    #[test]
    fn every_piece_but_counts_of_logs_comes_back_as_it_was() {
        let mut story = Story::whole();
        story.runner(9, "Running job: test (1.23)");
        story.runner(62, "Job test (1.23) completed with result: Succeeded");
        story.pieces.push(Evidence::Gone { at_ns: s(70) });
        story.pre_pulled("redis", (s(11), s(12)));
        let job = JobEnv { display_name: Some("test".into()), ..JobEnv::default() };
        story.pieces.push(Evidence::Job(Arc::new(job)));
        for purpose in Purpose::ALL {
            let piece = Box::new(Evidence::Gone { at_ns: s(60) });
            story.pieces.push(Evidence::Member { pod: pod(), purpose, piece });
        }
        for piece in story.pieces {
            let line = StoredEvidence::of(&piece).unwrap().to_line().unwrap();
            let back: StoredEvidence = serde_json::from_slice(&line).unwrap();
            assert_eq!(back.evidence(), Some(piece));
        }
        let line = StoredEvidence::of_pod(&pod()).to_line().unwrap();
        let back: StoredEvidence = serde_json::from_slice(&line).unwrap();
        assert_eq!(back.pod().as_ref(), Some(&*pod()));
    }

    #[test]
    fn what_an_agent_wrote_before_servers_were_told_is_read() {
        let mut written = fields(&JobEnv { run_id: Some("7".into()), ..JobEnv::default() });
        written.truncate(12);
        let env = env(written);
        assert_eq!((env.run_id.as_deref(), env.server_url.as_deref()), (Some("7"), None));
    }
}

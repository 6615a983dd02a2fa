//! What a pod's journals say, sorted by kind, with moments that cannot be told apart from lies moved
//! to where they could be true. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_journal::HOOK;

use super::job_evidence::JobEvidence;
use super::time::{Source, Stamp, Window};

/// The longest a job may take (GitHub's limit for self-hosted runners), where nobody but the journal
/// says when the pod began; nanoseconds.
const LONGEST_NS: u64 = 5 * 24 * 3600 * 1_000_000_000;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// When the pod's first container began: nothing of the job was before.
    floor_ns: Option<u64>,
    /// The hook's calls, by their beginnings.
    pub(super) calls: Vec<Call>,
    /// When the hook asked for each container.
    pub(super) asked: BTreeMap<Arc<str>, u64>,
    /// Pulls of containers' images.
    pub(super) pulled: BTreeMap<Arc<str>, Pulled>,
    /// What each container's init says of itself.
    pub(super) inits: BTreeMap<Arc<str>, Init>,
    /// Steps by container and number.
    pub(super) steps: BTreeMap<(Arc<str>, u64), Ran>,
}

/// A call of the hook.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) phase: Phase,
    /// As written: ids are derived from it.
    pub(super) at_ns: u64,
    pub(super) window: Window,
    pub(super) success: bool,
    /// The container that it was about.
    pub(super) container: Option<String>,
    pub(super) name: Option<String>,
    /// The step's name as GitHub shows it.
    pub(super) display_name: Option<String>,
    pub(super) exit_code: Option<u8>,
}

/// The pull of a container's image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulled {
    /// When the kubelet told of it: a whole second, cut off.
    pub(super) at_ns: u64,
    pub(super) duration_ns: u64,
    pub(super) bytes: Option<u64>,
}

/// A container's init.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Init {
    pub(super) started_ns: Option<u64>,
    pub(super) ended: Option<(u64, u8)>,
}

/// A step's process.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    pub(super) started_ns: Option<u64>,
    pub(super) name: String,
    pub(super) kind: Option<StepKind>,
    pub(super) id: Option<String>,
    pub(super) called_ns: Option<u64>,
    pub(super) ended: Option<Ended>,
}

/// Its end.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) at_ns: u64,
    /// By its duration.
    pub(super) began_ns: u64,
    pub(super) end: End,
    pub(super) cancelled: bool,
    pub(super) process: ProcessUsage,
    pub(super) cgroup: CgroupDelta,
}

// === impl Written ===

impl Written {
    /// Sorts a pod's records. Hook and init each have their files, and nobody speaks for another;
    /// of two records about one thing the first written counts.
    pub(super) fn of(job_evidence: &JobEvidence) -> Self {
        let mut written = Self { floor_ns: job_evidence.first_ns(), ..Self::default() };
        for ((file, _), (heard_ns, record)) in &job_evidence.journal {
            if &**file == HOOK {
                written.hook(*heard_ns, record);
            } else {
                written.init(file, *heard_ns, record);
            }
        }
        let order = |a: &Call, b: &Call| (a.window.start, a.at_ns).cmp(&(b.window.start, b.at_ns));
        written.calls.sort_by(order);
        written
    }

    fn hook(&mut self, heard_ns: u64, record: &Record) {
        match record {
            Record::HookPhase {
                at_ns,
                phase,
                duration_ns,
                success,
                container,
                name,
                display_name,
                exit_code,
                ..
            } => {
                let told =
                    Window::new(stamp(*at_ns), Some(stamp(at_ns.saturating_add(*duration_ns))));
                let window = told.within(&self.possible(heard_ns));
                self.calls.push(Call {
                    phase: *phase,
                    at_ns: *at_ns,
                    window,
                    success: *success,
                    container: container.clone(),
                    name: name.as_deref().map(clean),
                    display_name: display_name.as_deref().map(clean),
                    exit_code: *exit_code,
                });
            }
            Record::HookLaunched { at_ns, container, .. } => {
                let at = self.possible(heard_ns).nearest(*at_ns);
                self.asked.entry(container.as_str().into()).or_insert(at);
            }
            Record::ImagePulled { at_ns, container, duration_ns, bytes } => {
                let (at_ns, duration_ns, bytes) = (*at_ns, *duration_ns, *bytes);
                let pulled = Pulled { at_ns, duration_ns, bytes };
                self.pulled.entry(container.as_str().into()).or_insert(pulled);
            }
            _ => {}
        }
    }

    fn init(&mut self, file: &Arc<str>, heard_ns: u64, record: &Record) {
        match record {
            Record::ContainerStarted { at_ns, .. } => {
                let at = self.possible(heard_ns).nearest(*at_ns);
                let init = self.inits.entry(file.clone()).or_default();
                init.started_ns.get_or_insert(at);
            }
            Record::ContainerEnded { at_ns, exit_code, .. } => {
                let at = self.possible(heard_ns).nearest(*at_ns);
                let init = self.inits.entry(file.clone()).or_default();
                init.ended.get_or_insert((at, *exit_code));
            }
            Record::StepStarted { at_ns, step, name, kind, id, called_ns, .. } => {
                let at = self.possible(heard_ns).nearest(*at_ns);
                let ran = self.steps.entry((file.clone(), *step)).or_default();
                if ran.started_ns.is_none() {
                    ran.started_ns = Some(at);
                    ran.name = clean(name);
                    ran.kind = Some(*kind);
                    ran.id = id.as_deref().map(clean);
                    ran.called_ns = *called_ns;
                }
            }
            Record::StepEnded { at_ns, step, duration_ns, end, cancelled, process, cgroup } => {
                let at = self.possible(heard_ns).nearest(*at_ns);
                let began_ns = self.possible(heard_ns).nearest(at.saturating_sub(*duration_ns));
                let ran = self.steps.entry((file.clone(), *step)).or_default();
                if ran.ended.is_none() {
                    ran.ended = Some(Ended {
                        at_ns: at,
                        began_ns,
                        end: *end,
                        cancelled: *cancelled,
                        process: *process,
                        cgroup: *cgroup,
                    });
                }
            }
            _ => {}
        }
    }

    /// When something that was read then can have been.
    fn possible(&self, heard_ns: u64) -> Window {
        let floor = self.floor_ns.unwrap_or(heard_ns.saturating_sub(LONGEST_NS));
        Window::new(stamp(floor.min(heard_ns)), Some(stamp(heard_ns)))
    }

    /// When the first step of the workflow began in a container.
    pub(super) fn taken(&self, container: &Arc<str>) -> Option<u64> {
        let all = self.steps.range((container.clone(), 0)..=(container.clone(), u64::MAX));
        let own = all.map(|(_, ran)| ran).filter(|ran| ran.is_of_workflow());
        own.filter_map(Ran::window).map(|window| window.start.ns).min()
    }

    /// The first call of a kind.
    pub(super) fn call(&self, phase: Phase) -> Option<&Call> {
        self.calls.iter().find(|call| call.phase == phase)
    }
}

// === impl Ran ===

impl Ran {
    /// When its process ran.
    pub(super) fn window(&self) -> Option<Window> {
        let ended = self.ended.as_ref();
        let start = self.started_ns.or_else(|| ended.map(|ended| ended.began_ns))?;
        Some(Window::new(stamp(start), ended.map(|ended| stamp(ended.at_ns))))
    }

    /// Whether it is a step of the workflow.
    pub(super) fn is_of_workflow(&self) -> bool {
        matches!(self.kind, None | Some(StepKind::Script | StepKind::Container))
    }
}

/// What is told by a journal.
pub(super) fn stamp(ns: u64) -> Stamp {
    Stamp { ns, source: Source::Journal }
}

/// A text that may go into an attribute.
fn clean(text: &str) -> String {
    let shown = text.chars().filter(|letter| !letter.is_control());
    shown.take(ephemon_contract::JOURNAL_TEXT_MAX_CHARS).collect()
}

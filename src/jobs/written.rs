//! What a pod's journals say, sorted by kind, with moments that cannot be told apart from lies moved
//! to where they could be true. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_contract::journals::{HookJournal, InitJournal};
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
    /// Sorts a pod's records.
    pub(super) fn of(job_evidence: &JobEvidence) -> Self {
        let mut written = Self { floor_ns: job_evidence.first_ns(), ..Self::default() };
        let mut files: BTreeMap<&Arc<str>, Vec<(u64, &Record)>> = BTreeMap::new();
        for (file, heard_ns, record) in job_evidence.records.iter() {
            files.entry(file).or_default().push((heard_ns, record));
        }
        for (file, records) in files {
            if &**file == HOOK {
                written.hook(HookJournal::read(records));
            } else {
                written.init(file, InitJournal::read(records));
            }
        }
        let order = |a: &Call, b: &Call| (a.window.start, a.at_ns).cmp(&(b.window.start, b.at_ns));
        written.calls.sort_by(order);
        written
    }

    fn hook(&mut self, journal: HookJournal<'_, u64>) {
        for (heard_ns, call) in journal.calls {
            let told = Window::new(stamp(call.at_ns), Some(stamp(call.end_ns())));
            self.calls.push(Call {
                phase: call.phase,
                at_ns: call.at_ns,
                window: told.within(&self.possible(heard_ns)),
                success: call.success,
                container: call.container.map(str::to_owned),
                name: call.name.map(clean),
                display_name: call.display_name.map(clean),
                exit_code: call.exit_code,
            });
        }
        for (heard_ns, launched) in journal.launched {
            let at = self.possible(heard_ns).nearest(launched.at_ns);
            self.asked.insert(launched.container.into(), at);
        }
        for (_, pull) in journal.pulled {
            let (at_ns, duration_ns, bytes) = (pull.at_ns, pull.duration_ns, pull.bytes);
            self.pulled.insert(pull.container.into(), Pulled { at_ns, duration_ns, bytes });
        }
    }

    fn init(&mut self, file: &Arc<str>, journal: InitJournal<'_, u64>) {
        let nearest = |heard_ns, at_ns| self.possible(heard_ns).nearest(at_ns);
        let init = Init {
            started_ns: journal.started.map(|(heard_ns, at_ns)| nearest(heard_ns, at_ns)),
            ended: journal.ended.map(|(heard_ns, at_ns, code)| (nearest(heard_ns, at_ns), code)),
        };
        let mut steps = Vec::new();
        for (number, ran) in journal.steps {
            let started_ns =
                ran.started.map(|(heard_ns, started)| nearest(heard_ns, started.at_ns));
            let ended = ran.ended.map(|(heard_ns, ended)| {
                let at_ns = nearest(heard_ns, ended.at_ns);
                Ended {
                    at_ns,
                    began_ns: nearest(heard_ns, at_ns.saturating_sub(ended.duration_ns)),
                    end: ended.end,
                    cancelled: ended.cancelled,
                    process: *ended.process,
                    cgroup: *ended.cgroup,
                }
            });
            let started = ran.started.map(|(_, started)| started);
            let ran = Ran {
                started_ns,
                name: started.map(|started| clean(started.name)).unwrap_or_default(),
                kind: started.map(|started| started.kind),
                id: started.and_then(|started| started.id).map(clean),
                called_ns: started.and_then(|started| started.called_ns),
                ended,
            };
            steps.push(((file.clone(), number), ran));
        }
        self.steps.extend(steps);
        if init.started_ns.is_some() || init.ended.is_some() {
            self.inits.insert(file.clone(), init);
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
        self.kind.is_none_or(StepKind::is_of_workflow)
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

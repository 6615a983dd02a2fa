//! The containers of a job: when each was asked for, made, started and over, and how it ended. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_contract::Phase;
use ephemon_discovery::inventory::SpecEntry;
use ephemon_model::{CiJob, ContainerType, PodRef, PrePull};

use super::ci_pod;
use super::evidence::Sighted;
use super::figures::Figures;
use super::identity::Identity;
use super::job::{Container, Proof, Pull, Role};
use super::job_evidence::JobEvidence;
use super::members;
use super::outcome::{Fault, Outcome};
use super::runner_pod::is_runner;
use super::time::{Source, Stamp, Window};
use super::written::{Init, Pulled, Written, stamp};

/// Reasons of runtimes for a container that could not be started.
const NOT_STARTED: [&str; 4] =
    ["StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"];
/// Events' times are whole seconds, cut off: what they tell of was at most so much later.
const SECOND_NS: u64 = 1_000_000_000;
/// Exit codes of what is told to stop: of its own accord, by SIGKILL, by SIGTERM.
const STOPPED: [i32; 3] = [0, 137, 143];

/// Those of the job's pod and of the pods that its runner has created, by their beginnings.
pub(super) fn all_containers(
    job_evidence: &JobEvidence,
    written: &Written,
    identity: &Identity,
) -> Vec<Container> {
    let mut all = containers(job_evidence, written, identity, None);
    let nothing = Written::default();
    for member in job_evidence.members.values() {
        all.extend(containers(member, &nothing, identity, Some(member.pod())));
    }
    all.sort_by(|a, b| {
        let order = |one: &Container| (one.window.start, one.pod.is_some());
        (order(a), &a.name, &a.id).cmp(&(order(b), &b.name, &b.id))
    });
    all
}

/// All of one pod, which is `pod` where that is not the job's. What is none by the kernel's, the runtime's or its own init's
/// word is left out.
fn containers(
    job_evidence: &JobEvidence,
    written: &Written,
    identity: &Identity,
    pod: Option<&Arc<PodRef>>,
) -> Vec<Container> {
    let mut by_name: BTreeMap<Arc<str>, Vec<&Sighted>> = BTreeMap::new();
    for sighted in job_evidence.containers.values() {
        if sighted.container_type != ContainerType::Sandbox {
            by_name.entry(sighted.name.clone()).or_default().push(sighted);
        }
    }
    // Those that only spec and journal tell of: they were over before the agent began.
    for (name, entry) in &job_evidence.spec {
        if entry.container_type == ContainerType::Ephemeral {
            by_name.entry(name.clone()).or_default();
        }
    }
    let asked = |name: &Arc<str>, role| {
        let own = written.asked.get(name).copied();
        // One patch asks for the job's container and all its services.
        let with_job = || written.asked.values().min().copied().filter(|_| role == Role::Service);
        own.or_else(with_job)
    };
    // Nobody says when the reference hook ends what it has created: whenever it does.
    let is_stopped = job_evidence.purpose.is_some_and(members::is_stopped);
    let stopping = written.call(Phase::CleanupJob).map(|call| call.window.start.ns);
    let stopping = stopping.or(is_stopped.then_some(0));
    let mut all = Vec::new();
    for (name, mut runs) in by_name {
        let entry = job_evidence.spec.get(&name);
        let init = written.inits.get(&name).copied();
        runs.sort_by_key(|run| (run.born_ns.or(run.started_ns), run.id.clone()));
        let last = runs.pop();
        let role = role(job_evidence, &name, last, init);
        let taken = written.taken(&name).filter(|_| role == Role::Standby);
        let role = if taken.is_some() { Role::Step } else { role };
        let asked = asked(&name, role);
        let pulled = written.pulled.get(&name).copied();
        let ahead = job_evidence.pre_pulled.get(&name);
        let pod = pod.cloned();
        let part = Part {
            name,
            pod,
            entry,
            init,
            role,
            taken,
            asked,
            pulled,
            ahead,
            stopping,
            is_stopped,
        };
        let key = identity.key();
        let latest = part.container(last, job_evidence, key.container_span(&part.key()).span_id);
        for run in runs {
            // A container of the pod's own that was started again: the earlier runs.
            let span = key.stage_span(&part.key(), run.id.as_str()).span_id;
            let unknown =
                Part { init: None, taken: None, asked: None, pulled: None, ..part.clone() };
            let earlier = Part { ahead: None, ..unknown };
            all.extend(earlier.container(Some(run), job_evidence, span));
        }
        all.extend(latest);
    }
    all
}

fn role(
    job_evidence: &JobEvidence,
    name: &str,
    last: Option<&Sighted>,
    init: Option<Init>,
) -> Role {
    let entry = job_evidence.spec.get(name);
    let job = entry.and_then(|entry| entry.job.as_deref());
    let said = job.and_then(|job| job.role.as_deref());
    if job.is_some_and(|job| job.ci.is_some()) && job_evidence.ci().is_some() {
        return ci_pod::role(said);
    }
    let container_type = entry
        .map(|entry| entry.container_type)
        .or_else(|| last.map(|sighted| sighted.container_type))
        .unwrap_or(ContainerType::Unknown);
    if let Some(purpose) = job_evidence.purpose {
        return members::role(purpose, name, container_type);
    }
    match (said, container_type) {
        (Some("job"), ContainerType::Ephemeral) => Role::Job,
        (Some("service"), ContainerType::Ephemeral) => Role::Service,
        (Some("step"), ContainerType::Ephemeral) => Role::Step,
        (Some("standby"), ContainerType::Ephemeral) => Role::Standby,
        (_, ContainerType::Ephemeral) if job_evidence.is_debug(name) => Role::Debug,
        (_, ContainerType::Ephemeral) => Role::Other,
        (_, ContainerType::Nested | ContainerType::NestedBeside) => Role::Nested,
        // Without an API nobody says what a container is, but an init of ours runs in no other.
        (_, ContainerType::Unknown) if init.is_some() => Role::Other,
        _ => Role::Runner,
    }
}

/// What is known of one container, save its run.
#[derive(Clone)]
struct Part<'a> {
    name: Arc<str>,
    pod: Option<Arc<PodRef>>,
    entry: Option<&'a SpecEntry>,
    init: Option<Init>,
    role: Role,
    /// When a step took it, of one that was made ahead.
    taken: Option<u64>,
    asked: Option<u64>,
    pulled: Option<Pulled>,
    /// The pull that the agent had asked for.
    ahead: Option<&'a PrePull>,
    /// When the hook began to stop everything.
    stopping: Option<u64>,
    /// Whether the reference hook ends it by force.
    is_stopped: bool,
}

// === impl Part ===

impl Part<'_> {
    /// As [`Container::key`].
    fn key(&self) -> String {
        let pod = self.pod.as_ref().map(|pod| format!("{}/", pod.name)).unwrap_or_default();
        format!("{pod}{}", self.name)
    }

    fn container(
        &self,
        run: Option<&Sighted>,
        job_evidence: &JobEvidence,
        span_id: ephemon_contract::trace::SpanId,
    ) -> Option<Container> {
        let life = self.life(run, job_evidence)?;
        let window = self.window(&life);
        let reading = run.and_then(|run| run.reading);
        let figures = reading.map(|reading| reading.figures).unwrap_or_default();
        let proof = match reading {
            Some(reading) => reading.quality.map_or(Proof::Living, Proof::Kernel),
            None => Proof::None,
        };
        let exit = run.and_then(|run| run.exit.as_ref());
        let final_seen = reading.is_some_and(|reading| reading.quality.is_some());
        let started = self.init.and_then(|init| init.started_ns).map(stamp).or_else(|| {
            let ns = run.and_then(|run| run.started_ns)?;
            Some(Stamp { ns, source: Source::Runtime })
        });
        // A whole second may lie before the cgroup's birth: then it says nothing.
        let started_ns =
            started.map(|at| at.ns).filter(|ns| *ns >= life.start.ns && window.holds(*ns));
        Some(Container {
            name: self.name.clone(),
            pod: self.pod.clone(),
            id: run.map(|run| run.id.clone()),
            container_type: self
                .entry
                .map(|entry| entry.container_type)
                .or_else(|| run.map(|run| run.container_type))
                .unwrap_or(ContainerType::Unknown),
            role: self.role,
            image: self
                .entry
                .and_then(|entry| entry.image.clone())
                .or_else(|| run.and_then(|run| run.image.clone())),
            span_id,
            window,
            born_ns: run.and_then(|run| run.born_ns),
            started_ns,
            taken_ns: self.taken.filter(|ns| *ns >= life.start.ns && window.holds(*ns)),
            pull: self.pull(life.start.ns),
            outcome: ci_pod::outcome(
                self.ci(),
                self.outcome(run, figures, window.end, job_evidence),
            ),
            figures,
            proof,
            log: job_evidence.logs.get(&self.name).copied(),
            // Nobody reports how a nested one ended.
            settled: final_seen
                && (exit.is_some() || self.role == Role::Nested)
                && self.ci().is_none_or(|ci| ci_pod::is_recorded(ci, self.role)),
        })
    }

    /// What the pod of another CI system says.
    fn ci(&self) -> Option<&CiJob> {
        self.entry?.job.as_ref()?.ci.as_deref()
    }

    /// From the cgroup's birth to its end, by the best word for each.
    fn life(&self, run: Option<&Sighted>, job_evidence: &JobEvidence) -> Option<Window> {
        let by = |ns: Option<u64>, source| ns.map(|ns| Stamp { ns, source });
        let init = self.init.unwrap_or_default();
        let start = by(run.and_then(|run| run.born_ns), Source::Kernel)
            .or_else(|| by(run.and_then(|run| run.started_ns), Source::Runtime))
            .or_else(|| by(init.started_ns, Source::Journal))?;
        let end = by(run.and_then(|run| run.ended_ns), Source::Kernel)
            .or_else(|| by(run.and_then(|run| run.finished_ns), Source::Runtime))
            .or_else(|| {
                // Believed where nobody else can tell: it was over before the agent began.
                by(init.ended.map(|(at, _)| at).filter(|_| run.is_none()), Source::Journal)
            })
            .or_else(|| by(job_evidence.gone_ns, Source::Derived));
        Some(Window::new(start, end))
    }

    /// From the request for it, where that was before its birth and not before the pod's.
    fn window(&self, life: &Window) -> Window {
        match self.asked.filter(|asked| *asked < life.start.ns) {
            Some(asked) => Window { start: stamp(asked), ..*life },
            None => *life,
        }
    }

    /// The pull of its image, where it can have been: of what the journal says it keeps the length,
    /// as far as there is room for it. One that the agent had asked for is the only one: what the
    /// kubelet tells beside it is how long it waited for that. It may have begun, and ended, before the
    /// container was asked for: the hook tells of actions' images ahead.
    fn pull(&self, born_ns: u64) -> Option<Pull> {
        let asked = self.asked.filter(|asked| *asked < born_ns)?;
        if let Some(PrePull { start_ns, end_ns, bytes, .. }) = self.ahead {
            // The kubelet may go on before the runtime's answer to the agent has come.
            let end_ns = (*end_ns).min(born_ns);
            let start_ns = (*start_ns).min(end_ns);
            return Some(Pull { start_ns, end_ns, bytes: *bytes, is_ahead: true });
        }
        let Pulled { at_ns, duration_ns, bytes } = self.pulled?;
        let end_ns = at_ns.saturating_add(SECOND_NS).clamp(asked, born_ns);
        let start_ns = end_ns.saturating_sub(duration_ns).max(asked);
        Some(Pull { start_ns, end_ns, bytes, is_ahead: false })
    }

    fn outcome(
        &self,
        run: Option<&Sighted>,
        figures: Figures,
        end: Option<Stamp>,
        job_evidence: &JobEvidence,
    ) -> Outcome {
        let told = run.and_then(|run| run.exit.as_ref());
        let code = told.map(|exit| exit.code);
        let code = code.or_else(|| Some(i32::from(self.init?.ended?.1)));
        let reason = told.map(|exit| &*exit.reason).unwrap_or_default();
        let Some(end) = end.filter(|_| self.role != Role::Nested) else { return Outcome::SUCCESS };
        // Without an API nobody says what a container is for, but the hook stops all that are its. A
        // CI system stops its own so when the job is over.
        let hooks = match self.role {
            Role::Job | Role::Service | Role::Standby => true,
            Role::Other => self.init.is_some(),
            Role::Step => self.is_stopped,
            Role::Runner | Role::Debug | Role::Nested => false,
        };
        let stopped =
            hooks && (self.ci().is_some() || self.stopping.is_some_and(|from| end.ns >= from));
        let Some(code) = code else {
            // Nobody saw its end: the pod went with it, and it was to go.
            if stopped {
                return Outcome::SUCCESS;
            }
            // A runner that has said how its job ended ends next. The kubelet may tell of that too late.
            let said_before = job_evidence.completed.as_ref().is_some_and(|(at, _)| end.ns >= *at);
            let is_done = self.role == Role::Runner && is_runner(&self.name) && said_before;
            return if is_done { Outcome::UNKNOWN } else { Outcome::error(Fault::Lost, None) };
        };
        let killed = figures.oom_kills.is_some_and(|kills| kills > 0) && code != 0;
        let told_to_stop = stopped && STOPPED.contains(&code);
        if NOT_STARTED.contains(&reason) {
            Outcome::error(Fault::Start, Some(code))
        } else if reason == "OOMKilled" {
            Outcome::error(Fault::OomKilled, Some(code))
        } else if told_to_stop {
            Outcome { exit_code: Some(code), ..Outcome::SUCCESS }
        } else if killed {
            Outcome::error(Fault::OomKilled, Some(code))
        } else {
            Outcome::of_code(code)
        }
    }
}

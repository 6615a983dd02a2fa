//! A made-up job's evidence, to be changed piece by piece: for the tests of this crate and of those
//! that show jobs.

#![expect(clippy::unwrap_used, clippy::new_without_default, missing_docs, reason = "tests only")]

mod actions;

use std::sync::Arc;

use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_journal::HOOK;
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid, PrePull, Quality};

use crate::{Evidence, Figures, Heard, JobEvidence, Reading, Sighted, runner};

/// What the kernel counted for the job's container.
pub const CPU_OF_JOB: u64 = 4_000_000_000;

/// Seconds of the story, as nanoseconds.
pub fn s(second: u64) -> u64 {
    second * 1_000_000_000
}

#[derive(Debug, Clone)]
pub struct Story {
    pub pieces: Vec<Evidence>,
}

pub fn pod() -> Arc<PodRef> {
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
    Arc::new(PodRef { namespace: "ci".into(), name: "runner-1".into(), uid })
}

fn id(name: &str) -> ContainerId {
    let hex = name.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    ContainerId::parse(&format!("{hex:0<64}")).unwrap()
}

fn env(role: &str) -> Arc<JobEnv> {
    let text = |text: &str| Some(Arc::from(text));
    Arc::new(JobEnv {
        repository: text("o/r"),
        run_id: text("14460881260"),
        run_attempt: text("13"),
        name: text("test"),
        workflow: text("CI"),
        workflow_ref: text("o/r/.github/workflows/ci.yml@refs/heads/main"),
        sha: text("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        git_ref: text("refs/heads/main"),
        event: text("push"),
        runner: text("runner-1"),
        role: text(role),
        server_url: text("https://github.com"),
        ..JobEnv::default()
    })
}

fn key() -> ephemon_contract::trace::JobKey<'static> {
    let run = ephemon_contract::trace::RunKey { run_id: "14460881260", run_attempt: "13" };
    ephemon_contract::trace::JobKey { run, job: "test", runner: "runner-1" }
}

impl Story {
    pub fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    /// Prepare, two script steps of which the second fails, a container step, cleanup.
    pub fn whole() -> Self {
        let mut story = Self::new();
        story.container("runner", ContainerType::Container, None, (1, 70), 0, 900);
        story.container("job", ContainerType::Ephemeral, Some("job"), (12, 60), 143, 4000);
        story.container("redis", ContainerType::Ephemeral, Some("service"), (12, 59), 0, 100);
        story.container("step", ContainerType::Ephemeral, Some("step"), (42, 44), 0, 500);
        story.call(Phase::PrepareJob, None, (10, 15), 0);
        story.launched("job", 11);
        story.pulled("job", 11, 400);
        story.init("job", 13, (60, 143));
        story.step("job", 1, "__run", StepKind::Script, (20, 25), 0);
        story.claim("__run", |cgroup| {
            cgroup.memory_peak_bytes = Some(300 << 20);
            cgroup.memory_peak_rose = Some(true);
        });
        story.step("job", 2, "__run_2", StepKind::Script, (30, 32), 42);
        story.step("step", 1, "lint", StepKind::Container, (40, 45), 0);
        story.launched("step", 41);
        story.init("step", 42, (44, 0));
        story.call(Phase::CleanupJob, None, (58, 61), 0);
        story
    }

    /// A pod with an ephemeral container of somebody's.
    pub fn debugged() -> Self {
        let mut story = Self::new();
        story.container("app", ContainerType::Container, None, (1, 70), 0, 900);
        story.container("debugger-abc", ContainerType::Ephemeral, None, (12, 20), 3, 500);
        story
    }

    pub fn idle() -> Self {
        let mut story = Self::new();
        story.container("init", ContainerType::Init, None, (0, 1), 0, 50);
        story.container("runner", ContainerType::Container, None, (1, 70), 0, 900);
        story
    }

    pub fn job_evidence(&self) -> JobEvidence {
        let mut job_evidence = JobEvidence::new(pod());
        for piece in &self.pieces {
            job_evidence.take(piece.clone());
        }
        job_evidence
    }

    pub fn container(
        &mut self,
        name: &str,
        container_type: ContainerType,
        role: Option<&str>,
        (created, ended): (u64, u64),
        code: i32,
        cpu_ms: u64,
    ) {
        let image: Option<Arc<str>> = Some(format!("localhost/{name}:1").into());
        self.pieces.push(Evidence::Spec(SpecEntry {
            name: name.into(),
            container_type,
            image: image.clone(),
            limits: None,
            wants_init: false,
            job: role.map(env),
        }));
        let figures = Figures {
            cpu_ns: Some(cpu_ms * 1_000_000),
            throttled_ns: Some(7_000_000),
            memory_peak_bytes: Some(512 << 20),
            memory_byte_ms: Some(1 << 30),
            oom_kills: Some(0),
            read_bytes: Some(8192),
            written_bytes: Some(4096),
        };
        self.pieces.push(Evidence::Container(Box::new(Sighted {
            id: id(name),
            name: name.into(),
            container_type,
            image,
            born_ns: Some(s(created)),
            ended_ns: Some(s(ended)),
            started_ns: Some(s(created)),
            finished_ns: Some(s(ended)),
            exit: Some(Exit { code, reason: "Completed".into() }),
            reading: Some(Reading { at_ns: s(ended), figures, quality: Some(Quality::Exact) }),
        })));
    }

    pub fn heard(&mut self, file: &str, heard_ns: u64, record: Record) {
        let of_file = |piece: &&Evidence| matches!(piece, Evidence::Journal(h) if &*h.file == file);
        let at = self.pieces.iter().filter(of_file).count() as u64 * 100;
        let file = file.into();
        self.pieces.push(Evidence::Journal(Heard { file, at, heard_ns, record }));
    }

    fn call(&mut self, phase: Phase, name: Option<&str>, (start, end): (u64, u64), code: u8) {
        let context = name.map(|name| key().step_span(name, s(start)).to_string());
        let record = Record::HookPhase {
            at_ns: s(start),
            phase,
            duration_ns: s(end - start),
            success: code == 0,
            container: None,
            name: name.map(str::to_owned),
            display_name: None,
            traceparent: context,
            exit_code: Some(code),
        };
        self.heard(HOOK, s(end), record);
    }

    fn pulled(&mut self, container: &str, second: u64, took_ms: u64) {
        let record = Record::ImagePulled {
            at_ns: s(second),
            container: container.to_owned(),
            duration_ns: took_ms * 1_000_000,
            bytes: Some(4_261_550),
        };
        self.heard(HOOK, s(second + 5), record);
    }

    /// The agent has pulled the container's image ahead, nanoseconds.
    pub fn pre_pulled(&mut self, container: &str, (start_ns, end_ns): (u64, u64)) {
        let bytes = Some(1_000_000);
        let pull = PrePull { container: container.into(), start_ns, end_ns, bytes };
        self.pieces.push(Evidence::PrePulled(pull));
    }

    fn launched(&mut self, container: &str, at: u64) {
        let record = Record::HookLaunched {
            at_ns: s(at),
            container: container.to_owned(),
            image: format!("localhost/{container}:1"),
            running_at_ns: None,
        };
        self.heard(HOOK, s(at + 5), record);
    }

    pub fn init(&mut self, container: &str, started: u64, (ended, exit_code): (u64, u8)) {
        let record = Record::ContainerStarted {
            at_ns: s(started),
            container: container.to_owned(),
            pid: 1,
            uid: 0,
        };
        self.heard(container, s(started), record);
        let record = Record::ContainerEnded { at_ns: s(ended), exit_code, dropped: 0 };
        self.heard(container, s(ended), record);
    }

    /// The hook's call and the process a tenth of a second within it.
    fn step(
        &mut self,
        container: &str,
        number: u64,
        name: &str,
        kind: StepKind,
        (start, end): (u64, u64),
        code: u8,
    ) {
        let phase = match kind {
            StepKind::Container => Phase::RunContainerStep,
            _ => Phase::RunScriptStep,
        };
        self.call(phase, Some(name), (start, end), code);
        let tenth = 100_000_000;
        let (began, over) = match kind {
            StepKind::Container => (s(42) + tenth, s(44) - tenth),
            _ => (s(start) + tenth, s(end) - tenth),
        };
        let record = Record::StepStarted {
            at_ns: began,
            step: number,
            name: name.to_owned(),
            kind,
            id: Some(name.to_owned()),
            called_ns: Some(s(start)),
            pid: 7,
        };
        self.heard(container, s(start + 1), record);
        let record = Record::StepEnded {
            at_ns: over,
            step: number,
            duration_ns: over - began,
            end: End::Code(code),
            cancelled: false,
            process: ProcessUsage { user_us: 1000, system_us: 0, max_rss_bytes: 1 << 20 },
            cgroup: CgroupDelta { cpu_ns: Some(2_000_000_000), ..CgroupDelta::default() },
        };
        self.heard(container, s(end), record);
    }

    pub fn many_steps(&mut self, count: u64) {
        for n in 0..count {
            let at = 30 + n % 20;
            let name = format!("__run_{}", n + 10);
            self.step("job", n + 10, &name, StepKind::Script, (at, at + 1), 0);
        }
    }

    pub fn runner(&mut self, at: u64, text: &str) {
        let said = runner::parse(&format!("2026-11-23 12:19:10Z: {text}")).unwrap();
        self.pieces.push(Evidence::Runner { at_ns: s(at), said });
    }

    pub fn sighted(&mut self, name: &str, change: impl Fn(&mut Sighted)) {
        for piece in &mut self.pieces {
            if let Evidence::Container(sighted) = piece
                && &*sighted.name == name
            {
                change(sighted);
            }
        }
    }

    pub fn end(&mut self, name: &str, at: u64, code: i32, reason: &str) {
        self.sighted(name, |one| {
            one.ended_ns = Some(s(at));
            one.finished_ns = Some(s(at));
            one.exit = Some(Exit { code, reason: reason.into() });
        });
    }

    /// The kernel counts kills; a step claims them, or nobody does.
    pub fn kill(&mut self, container: &str, kills: u64, step: Option<&str>) {
        self.sighted(container, |one| {
            if let Some(reading) = &mut one.reading {
                reading.figures.oom_kills = Some(kills);
            }
        });
        if let Some(step) = step {
            self.claim(step, |cgroup| cgroup.oom_kills = Some(kills));
        }
    }

    fn number_of(&self, step: &str) -> (Arc<str>, u64) {
        let number = |piece: &Evidence| match piece {
            Evidence::Journal(Heard {
                file,
                record: Record::StepStarted { step: number, name, .. },
                ..
            }) if name == step => Some((file.clone(), *number)),
            _ => None,
        };
        self.pieces.iter().find_map(number).unwrap()
    }

    pub fn claim(&mut self, step: &str, change: impl Fn(&mut CgroupDelta)) {
        let (file, number) = self.number_of(step);
        for piece in &mut self.pieces {
            if let Evidence::Journal(heard) = piece
                && heard.file == file
                && let Record::StepEnded { step, cgroup, .. } = &mut heard.record
                && *step == number
            {
                change(cgroup);
            }
        }
    }

    pub fn cancel(&mut self, step: &str) {
        let (of, number) = self.number_of(step);
        for piece in &mut self.pieces {
            if let Evidence::Journal(Heard {
                file,
                record: Record::StepEnded { step, cancelled, end, .. },
                ..
            }) = piece
                && (&*file, *step) == (&of, number)
            {
                (*cancelled, *end) = (true, End::Signal(2));
            }
        }
    }

    pub fn forget_end_of(&mut self, step: &str) {
        let (of, number) = self.number_of(step);
        self.pieces.retain(|piece| {
            !matches!(piece, Evidence::Journal(Heard {
                file, record: Record::StepEnded { step, .. }, ..
            }) if (file, *step) == (&of, number))
        });
    }

    pub fn forget_call(&mut self, step: &str) {
        self.pieces.retain(|piece| {
            !matches!(piece, Evidence::Journal(Heard {
                record: Record::HookPhase { name: Some(name), .. }, ..
            }) if name == step)
        });
    }

    pub fn forget_kernel(&mut self) {
        for piece in &mut self.pieces {
            if let Evidence::Container(sighted) = piece {
                sighted.born_ns = None;
                sighted.ended_ns = None;
                sighted.reading = None;
            }
        }
    }

    /// What was known by that second.
    pub fn until(&mut self, second: u64) {
        let now = s(second);
        self.pieces.retain(|piece| match piece {
            Evidence::Journal(heard) => heard.heard_ns <= now,
            Evidence::Container(sighted) => sighted.born_ns.is_none_or(|created| created <= now),
            Evidence::Runner { at_ns, .. } => *at_ns <= now,
            _ => true,
        });
        for piece in &mut self.pieces {
            if let Evidence::Container(sighted) = piece
                && sighted.ended_ns.is_some_and(|ended| ended > now)
            {
                sighted.ended_ns = None;
                sighted.finished_ns = None;
                sighted.exit = None;
                if let Some(reading) = &mut sighted.reading {
                    reading.quality = None;
                    reading.at_ns = now;
                }
            }
        }
    }
}

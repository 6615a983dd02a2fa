//! A hook, or an init, that was killed at any moment: its journal ends anywhere, and what can be
//! known is known all the same.

use std::fs;
use std::path::{Path, PathBuf};

use ephemon_contract::{Phase as Call, Record};
use ephemon_journal::{HOOK, Reader};
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;

use crate::story::{Story, pod, s};
use crate::{Evidence, Fault, Heard, Job, JobEvidence, JobResult, Outcome};

const KUBELET: &str = "/var/lib/kubelet";

/// The story's journals as files.
struct Site<'a> {
    story: &'a Story,
    node: tempfile::TempDir,
    self_metrics: SelfMetrics,
}

impl<'a> Site<'a> {
    fn new(story: &'a Story) -> Self {
        let (node, self_metrics) = (tempfile::tempdir().unwrap(), SelfMetrics::new().unwrap());
        let site = Self { story, node, self_metrics };
        fs::create_dir_all(site.journals()).unwrap();
        for file in [HOOK, "job", "step"] {
            fs::write(site.path(file), text(story, file)).unwrap();
        }
        site
    }

    fn root(&self) -> NodeRoot {
        NodeRoot::new(self.node.path())
    }

    fn journals(&self) -> PathBuf {
        self.root().empty_dir(Path::new(KUBELET), &pod().uid, "ephemon").join("journal")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.journals().join(format!("{file}.jsonl"))
    }

    /// The job as it is known with one journal cut short.
    fn read(&self, cut: &str, length: usize) -> Job {
        fs::write(self.path(cut), &text(self.story, cut)[..length]).unwrap();
        let mut reader = Reader::new(self.root(), KUBELET, self.self_metrics.clone());
        let mut job_evidence = JobEvidence::new(pod());
        reader.look(&[pod().uid.clone()], |entry| {
            let (file, at, record) = (entry.file, entry.at, entry.record);
            job_evidence.take(Evidence::Journal(Heard { file, at, heard_ns: s(99), record }));
        });
        for piece in &self.story.pieces {
            if !matches!(piece, Evidence::Journal(_)) {
                job_evidence.take(piece.clone());
            }
        }
        job_evidence.job(Some(s(100))).expect("a job")
    }
}

fn text(story: &Story, wanted: &str) -> Vec<u8> {
    let line = |piece: &Evidence| match piece {
        Evidence::Journal(Heard { file, record, .. }) if &**file == wanted => record.to_line(),
        _ => None,
    };
    story.pieces.iter().filter_map(line).flatten().collect()
}

#[test]
fn a_hook_killed_at_any_byte_leaves_a_trace_with_the_results_of_all_steps() {
    let story = Story::whole();
    let (site, hook) = (Site::new(&story), text(&story, HOOK));
    let whole = site.read(HOOK, hook.len());
    let lines = String::from_utf8(hook.clone()).unwrap();
    let line_of = |call: Call| {
        lines.lines().position(|line| line.contains(call.as_str())).expect("its line") + 1
    };
    for length in 0..=hook.len() {
        let job = site.read(HOOK, length);
        let whole_lines = memchr::memchr_iter(b'\n', &hook[..length]).count();
        let steps: Vec<_> = job.steps.iter().map(|step| (&*step.name, step.outcome)).collect();
        let wanted: Vec<_> = whole.steps.iter().map(|step| (&*step.name, step.outcome)).collect();
        assert_eq!(steps, wanted, "cut at {length}");
        let ids = |job: &Job| job.steps.iter().map(|step| step.span_id).collect::<Vec<_>>();
        assert_eq!(ids(&job), ids(&whole), "cut at {length}");
        // Phases are told at their ends: one that was not told is not there, and none is open.
        let calls: Vec<_> = job.phases.iter().map(|phase| phase.call).collect();
        let mut told = vec![Call::PrepareJob, Call::CleanupJob];
        told.retain(|call| line_of(*call) <= whole_lines);
        assert_eq!(calls, told, "cut at {length}");
        assert_eq!(job.span, whole.span);
        assert_eq!(job.outcome.result, JobResult::Failure, "cut at {length}");
    }
}

#[test]
fn an_init_killed_at_any_byte_leaves_the_steps_that_the_hook_tells_of() {
    let story = Story::whole();
    let (site, init) = (Site::new(&story), text(&story, "job"));
    let whole = site.read("job", init.len());
    for length in 0..=init.len() {
        let job = site.read("job", length);
        let steps: Vec<_> = job.steps.iter().map(|step| (step.span_id, step.outcome)).collect();
        let wanted: Vec<_> = whole.steps.iter().map(|step| (step.span_id, step.outcome)).collect();
        assert_eq!(steps, wanted, "cut at {length}");
    }
}

#[test]
fn a_step_whose_hook_and_init_were_both_killed_is_lost() {
    let mut story = Story::whole();
    story.forget_call("__run_2");
    story.forget_end_of("__run_2");
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    let step = job.steps.iter().find(|step| &*step.name == "__run_2").unwrap();
    assert_eq!(step.outcome.fault, Some(Fault::Lost));
    assert_eq!(job.outcome.result, JobResult::Error);
}

#[test]
fn a_service_whose_end_nobody_saw_ended_as_the_cleanup_did() {
    for (cleaned, expected) in [
        (Some(true), Outcome::SUCCESS),
        (Some(false), Outcome::UNKNOWN),
        // The hook was killed in it.
        (None, Outcome::error(Fault::Lost, None)),
    ] {
        let mut story = Story::whole();
        story.sighted("redis", |one| {
            (one.ended_ns, one.finished_ns, one.exit) = (None, None, None);
        });
        for piece in &mut story.pieces {
            if let Evidence::Journal(heard) = piece
                && let Record::HookPhase { phase: Call::CleanupJob, success, .. } =
                    &mut heard.record
            {
                *success = cleaned != Some(false);
            }
        }
        let length = text(&story, HOOK).len() - usize::from(cleaned.is_none());
        let job = Site::new(&story).read(HOOK, length);
        let service = job.containers.iter().find(|one| &*one.name == "redis").unwrap();
        assert_eq!(service.outcome, expected, "{cleaned:?}");
    }
}

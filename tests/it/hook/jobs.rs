//! From what hook and init wrote in the pod's volume, and the pod's spec, to one job's record.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ephemon_base::clock::now_ns;
use ephemon_capture::readings::Snapshot;
use ephemon_contract::trace::{JobKey, RunKey};
use ephemon_discovery::inventory::Inventory;
use ephemon_discovery::pod_view::PodView;
use ephemon_jobs::{Assembler, Dispatch, JobResult, Memory, Options, Outcome, Proof, Role, Which};
use ephemon_journal::Reader;
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;
use ephemon_otlp::span;
use ephemon_self_metrics::SelfMetrics;
use serde_json::Value;

use super::rig::Rig;
use crate::support::process::until;

/// The rig's volumes where a kubelet has them.
fn node_of(rig: &Rig, uid: &str, root: &Path) -> NodeRoot {
    let volumes = root.join("var/lib/kubelet/pods").join(uid).join("volumes");
    fs::create_dir_all(&volumes).unwrap();
    symlink(rig.directory.path(), volumes.join("kubernetes.io~empty-dir")).unwrap();
    NodeRoot::new(root)
}

#[tokio::test]
async fn a_job_played_through_the_hook_is_one_record_with_the_ids_its_steps_were_told() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.set("GITHUB_RUN_ID", "14460881260");
    rig.set("GITHUB_RUN_ATTEMPT", "13");
    rig.set("GITHUB_JOB", "test");
    rig.set("RUNNER_NAME", "runner-1");
    let state = rig.prepared().await;
    let good = rig.call("run_script_step", &rig.script("echo $TRACEPARENT"), &state).await;
    rig.set("GITHUB_ACTION", "__run_2");
    // What the runner's worker logs when a step's turn comes.
    let logged = |name| {
        format!("[2026-01-01 00:00:00Z INFO StepsRunner] Processing step: DisplayName='{name}'\n")
    };
    fs::create_dir(rig.path("_diag")).unwrap();
    let log = logged("Run make") + &logged("Test with key ***");
    fs::write(rig.path("_diag/Worker_20260101-000000-utc.log"), log).unwrap();
    let bad = rig.call("run_script_step", &rig.script("exit 42"), &state).await;
    assert_eq!((good.code, bad.code), (0, 42));
    let cleaned = rig.call("cleanup_job", &Value::Null, &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");

    // Init writes its last record after it has told the hook that it goes.
    let journal = rig.path("ephemon/journal/job.jsonl");
    let over = until(Duration::from_mins(1), || {
        fs::read_to_string(&journal).ok()?.contains("container_ended").then_some(())
    });
    assert!(over.is_some(), "init never said that it was over");

    let pod = rig.pod_object();
    // The rig's containers have ids of their own kind: the API tells of none of them.
    let (view, _) = PodView::of(&serde_json::from_value(pod).unwrap());
    let view = view.unwrap();
    let uid: PodUid = view.pod.uid.clone();
    let root = tempfile::tempdir().unwrap();
    let node = node_of(&rig, uid.as_str(), root.path());
    let self_metrics = SelfMetrics::new().unwrap();
    let inventory = Inventory::without_api(self_metrics.clone());
    for evidence in view.evidence() {
        inventory.learn(evidence);
    }
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    let snapshots = ephemon_jobs::snapshots(inventory.snapshot(), &Snapshot::default());
    assembler.snapshots(snapshots, true, now_ns());
    Reader::new(node, "/var/lib/kubelet", self_metrics)
        .look(&[uid], |entry| assembler.journal(entry, now_ns()));
    // The pod goes, and with it all that could still be waited for.
    assembler.snapshots(Vec::new(), true, now_ns());
    assert!(assembler.turn(now_ns()).dispatches.is_empty(), "late words are waited for");
    let mut dispatches = assembler.turn(now_ns() + 60_000_000_000).dispatches;
    let Some(Dispatch { job, which: Which::All, last: true }) = dispatches.pop() else { panic!() };

    let run = RunKey { run_id: "14460881260", run_attempt: "13" };
    let key = JobKey { run, job: "test", runner: "runner-1" };
    assert_eq!(job.span, key.span());
    assert_eq!(job.outcome.result, JobResult::Failure);
    assert_eq!(job.phases.len(), 2);
    let [first, second] = &job.steps[..] else { panic!("{:?}", job.steps) };
    assert!(good.stdout.contains(&first.span_id.to_string()), "{good:?}");
    assert_eq!((&*first.name, &*second.name), ("__run", "__run_2"));
    let names = [first, second].map(|step| step.display_name.as_deref());
    assert_eq!(names, [None, Some("Test with key ***")], "as GitHub shows it");
    assert_eq!(first.outcome, Outcome { exit_code: Some(0), ..Outcome::SUCCESS });
    assert_eq!(second.outcome, Outcome::of_code(42));
    for step in [first, second] {
        assert_eq!(step.container.as_deref(), Some("job"));
        // The rig has no cgroups: nobody but the journal tells.
        assert_eq!(step.proof, Proof::Unconfirmed);
        assert!(step.figures.cpu_ns.is_some() && step.window.duration_ns() > Some(0));
    }
    let container = job.containers.iter().find(|one| one.role == Role::Job).unwrap();
    assert_eq!(container.span_id, key.container_span("job").span_id);
    let options = span::Options::default();
    let encoded = span::encoded(&Arc::clone(&job), &Which::All, &options);
    assert!(encoded[0].spans >= 6, "{}", encoded[0].spans);
}

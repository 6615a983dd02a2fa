//! A whole job on the other versions that the documents name.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;

use super::images::play;
use super::runner::job;
use super::site::{PATIENCE, Site};
use crate::support::parts::beside_others;
use crate::support::process::until;
use crate::support::real_node::{RealNode, Variant};
use crate::support::workflow_images::{BUSYBOX, GLIBC};

#[test]
fn a_whole_job_is_played_on_debians_containerd() {
    story_on(Variant::DebianRuntime);
}

#[test]
fn a_whole_job_is_played_on_the_oldest_kubernetes() {
    story_on(Variant::OldestKubernetes);
}

/// Success, failure and cancellation; the node goes afterwards.
fn story_on(variant: Variant) {
    let _beside = beside_others();
    let Some(node) = RealNode::start(variant) else { return };
    let site = Site::on(Arc::new(node));
    play(&site, &site.runner("runner-1"), BUSYBOX, false);
    play(&site, &site.runner("runner-2"), GLIBC, false);

    let runner = site.runner("runner-3");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let script = "trap 'echo tidied; exit 5' INT; echo on > begun; while :; do sleep 0.05; done";
    let step = runner.begin("run_script_step", &runner.script_args(script), &state);
    let begun = || (!runner.read("r/r/begun").is_empty()).then_some(());
    until(PATIENCE, begun).expect("the step begins");
    step.signal(Signal::INT);
    let called = step.finish();
    assert_eq!((called.code, called.stdout.lines().next()), (5, Some("tidied")), "{called:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

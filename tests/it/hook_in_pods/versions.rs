//! A whole job on the other versions that the documents name.

use std::sync::Arc;

use serde_json::json;

use super::failures::cancel_a_step;
use super::images::play;
use super::runner::job;
use super::site::Site;
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
    let Some(node) = RealNode::start(variant) else { return };
    let site = Site::on(Arc::new(node));
    play(&site, &site.runner("runner-1"), BUSYBOX, false);
    play(&site, &site.runner("runner-2"), GLIBC, false);

    let runner = site.runner("runner-3");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    cancel_a_step(&runner, &state, "");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

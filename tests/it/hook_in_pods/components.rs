//! Every component of the kustomization is applied to a real cluster and does what it is for, but
//! `web-config`, and `rules` and `dashboards`, which are nothing of the agent's; `otlp` is in `agent`.

use std::sync::Mutex;

use ephemon_base::lock;
use serde_json::json;

use super::installed::Installed;
use super::runner::job;
use super::site::Site;
use crate::support::parts::{Effect, sole_agent};
use crate::support::real_node::definitions;
use crate::support::workflow_images::BUSYBOX;

#[test]
fn the_base_runs_without_complaint_and_shows_a_job() {
    play("base", None);
}

#[test]
fn cri_socket_runs_without_complaint_and_shows_a_job() {
    play("overlays/cri-socket", None);
}

#[test]
fn enforce_limits_runs_without_complaint_and_shows_a_job() {
    play("overlays/enforce-limits", Some(Effect::Limits));
}

#[test]
fn minimal_runs_and_shows_a_job() {
    play("overlays/minimal", None);
}

#[test]
fn openshift_runs_without_complaint_and_shows_a_job() {
    play("overlays/openshift", None);
}

#[test]
fn pre_pull_runs_without_complaint_and_shows_a_job() {
    play("overlays/pre-pull", Some(Effect::Pulls));
}

#[test]
fn prometheus_operator_runs_without_complaint_and_shows_a_job() {
    play("overlays/prometheus-operator", None);
}

fn play(overlay: &str, effect: Option<Effect>) {
    let _agent = effect.map(sole_agent);
    let Some(site) = Site::start() else { return };
    if define(&site).is_none() {
        return;
    }
    let agent = Installed::apply(&site, overlay, "");
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    agent.scrape_until(|ledger| {
        let labels = [("pod", "runner-1"), ("container", "job"), ("container_type", "ephemeral")];
        ledger.sum("ephemon_container_info", &labels)
    });
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    agent.scrape_until(|ledger| {
        let labels = [("pod", "runner-1"), ("container", "job")];
        ledger.sum("ephemon_container_end_time_seconds", &labels)
    });
    // The component says itself what it has to do without.
    if overlay != "overlays/minimal" {
        assert_eq!(agent.complaints(), Vec::<String>::new(), "{overlay}");
    }
}

/// Defines what overlays make objects of, once; none where the machine lacks it, which is said.
fn define(site: &Site) -> Option<()> {
    static IS_DEFINED: Mutex<bool> = Mutex::new(false);
    let definitions = definitions::texts()?;
    let mut is_defined = lock(&IS_DEFINED);
    if !*is_defined {
        for definition in definitions {
            site.kubectl().apply(&definition);
        }
        site.kubectl().until_established("--all");
    }
    *is_defined = true;
    Some(())
}

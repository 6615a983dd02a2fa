//! Every component of the kustomization is applied to a real cluster and does what it is for, but
//! `web-config`, and `rules` and `dashboards`, which are nothing of the agent's; `otlp` is in `agent`.

use serde_json::json;

use super::installed::Installed;
use super::runner::job;
use super::site::Site;
use crate::support::parts::sole_agent;
use crate::support::real_node::definitions;
use crate::support::workflow_images::BUSYBOX;

#[test]
fn each_overlay_runs_without_complaint_and_shows_a_job() {
    let _agent = sole_agent();
    let Some(site) = Site::start() else { return };
    let Some(definitions) = definitions::texts() else { return };
    for definition in definitions {
        site.kubectl().apply(&definition);
    }
    site.kubectl().until_established("--all");
    let overlays =
        ["cri-socket", "enforce-limits", "minimal", "openshift", "pre-pull", "prometheus-operator"];
    let overlays = overlays.map(|name| format!("overlays/{name}"));
    for overlay in ["base"].into_iter().chain(overlays.iter().map(String::as_str)) {
        let agent = Installed::apply(&site, overlay, "");
        let name = overlay.replace('/', "-");
        let runner = site.runner(&name);
        let state = runner.prepare(&job(BUSYBOX, ""), &[]);
        assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
        agent.scrape_until(|ledger| {
            let labels =
                [("pod", name.as_str()), ("container", "job"), ("container_type", "ephemeral")];
            ledger.sum("ephemon_container_info", &labels)
        });
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
        agent.scrape_until(|ledger| {
            ledger
                .sum("ephemon_container_end_time_seconds", &[("pod", &name), ("container", "job")])
        });
        // The component says itself what it has to do without.
        if overlay != "overlays/minimal" {
            assert_eq!(agent.complaints(), Vec::<String>::new(), "{overlay}");
        }
    }
}

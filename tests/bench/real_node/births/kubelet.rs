//! Ephemeral containers on a real node, with API server and kubelet.

use serde_json::json;

use super::sources::{Places, Source};
use super::table::{self, Truth};
use crate::site::Site;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

const COUNT: usize = 40;
const POD: &str = "runner-births";
const LABEL: &str = "actions-ephemeral-runner";

pub(crate) fn measure() {
    let Some(site) = Site::start() else { return };
    site.unguard();
    let idle = json!({"name": "own", "image": BUSYBOX, "command": ["sleep", "100000"]});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": site.namespace(), "labels": {LABEL: "True"}},
        "spec": {"nodeName": NODE, "containers": [idle]},
    });
    site.kubectl().apply(&pod.to_string());
    site.until_status(POD, "own", |status| status.pointer("/state/running").cloned());
    let places = Places {
        root: site.node.path("/"),
        kubepods: None,
        cri: site.node.path("/run/containerd/containerd.sock"),
        nri: site.node.path("/run/nri/nri.sock"),
    };
    let [kernel, logs] = Source::kernel_and_logs(&places);
    let asked = Source::cri(&places);
    let api = Source::api(site.kubectl().kubeconfig(), NODE, LABEL);
    let events = Source::nri(&places);
    let cri = site.cri();
    let truths: Vec<Truth> = (0..COUNT)
        .map(|number| {
            let name = format!("short-{number}");
            let container = json!({"name": name, "image": BUSYBOX, "command": ["sleep", "0.05"]});
            let patch = json!({"spec": {"ephemeralContainers": [container]}}).to_string();
            let words = ["patch", "pod", POD, "-n", site.namespace()];
            let more =
                ["--subresource", "ephemeralcontainers", "--type", "strategic", "-p", &patch];
            site.kubectl().run(&[&words[..], &more[..]].concat());
            let id = site.until_status(POD, &name, |status| {
                status.pointer("/state/terminated")?;
                crate::site::id_of(status)
            });
            Truth::of(&cri, &id)
        })
        .collect();
    println!("a real node, {COUNT} ephemeral containers of 50 ms, one after the other");
    table::print(&[&kernel, &logs, &asked, &api, &events], &truths);
}

//! A node for a developer: the agent installed, a runner's pod waiting. `tests/node/play` runs it.

use std::io::{Read, stdin};

use super::installed::Installed;
use super::site::Site;

#[test]
#[ignore = "stays up until standard input ends: run tests/node/play"]
fn a_node_to_play_with() {
    let Some(site) = Site::start() else { return };
    let agent = Installed::as_shipped(&site, "overlays/enforce-limits", "");
    let runner = site.runner("runner-1");
    let kubectl = site.kubectl();
    let kubectl_program = kubectl.command(&[]).get_program().to_string_lossy().into_owned();
    let address = agent.address().expect("its pod has an address");
    println!(
        "\nA node is up, with the agent (enforce-limits) and a runner's pod.\n\n\
         export KUBECONFIG={kubeconfig}\n\
         alias kubectl={kubectl_program}\n\
         kubectl get pods -A\n\
         curl http://{address}/metrics\n\
         kubectl exec -it -n {namespace} {pod} -c runner -- sh\n\n\
         Logs of its parts: {log}\n\
         Ctrl-D (the end of standard input) or Ctrl-C ends everything.",
        kubeconfig = kubectl.kubeconfig().display(),
        namespace = site.namespace(),
        pod = runner.name,
        log = site.node.folder().join("log").display(),
    );
    stdin().read_to_end(&mut Vec::new()).ok();
}

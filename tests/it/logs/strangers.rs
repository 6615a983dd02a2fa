//! A node whose API server is silent: who was never listed stays a stranger.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::PATIENCE;
use crate::support::agent::TEXT;
use crate::support::http;
use crate::support::process::{Running, until};
use crate::support::programs;
use crate::support::site::Site;

const SECRET: &str = "what only the stranger's owner may read";

/// An agent that exports all logs of wanted pods to its standard output.
struct Agent {
    process: Running,
    output: PathBuf,
    said: PathBuf,
}

impl Agent {
    fn start(site: &Site, name: &str, flags: &[&str]) -> Self {
        let [output, said] = ["out", "err"].map(|end| site.root().join(format!("{name}.{end}")));
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--node-name", "it", "--listen", "127.0.0.1:0"])
            .args(["--log-containers", "all", "--logs-to", "stdout", "--kubepods", "kubepods"])
            .arg("--node-root")
            .arg(site.root())
            .args(flags)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env_remove("KUBECONFIG")
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&said).unwrap());
        Self { process: Running::start(&mut command), output, said }
    }

    fn address(&self) -> SocketAddr {
        until(PATIENCE, || {
            let said = fs::read_to_string(&self.said).unwrap();
            let (_, after) = said.split_once("listening on http://")?;
            after.split_whitespace().next()?.trim_end_matches('"').parse().ok()
        })
        .expect("it listens")
    }

    fn exported(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

/// A kubeconfig that leads to whoever listens there.
fn kubeconfig(home: &Path, api: &TcpListener) -> PathBuf {
    let server = api.local_addr().unwrap();
    let path = home.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         clusters: [{{name: it, cluster: {{server: 'http://{server}'}}}}]\n\
         users: [{{name: it, user: {{}}}}]\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn while_the_api_server_is_silent_no_strangers_log_goes_out_and_nothing_names_it() {
    let site = Site::new();
    // The kernel takes its connections; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = kubeconfig(site.root(), &silent);
    let pod = site.pod(1);
    let mut web = pod.start("web");
    web.say(SECRET);
    let mut agent = Agent::start(&site, "silent", &["--kubeconfig", kubeconfig.to_str().unwrap()]);
    let address = agent.address();
    let shows = |id: &str| {
        let page = http::get(address, "/metrics", TEXT).unwrap().body;
        let named = page.contains(&pod.name);
        (named || page.contains(&format!("container_id=\"{id}\""))).then_some(page)
    };
    until(PATIENCE, || shows(&web.id)).expect("its figures are shown all the same");
    // One that is created now is shown seconds later: time enough for the first one's log.
    let mut late = pod.start("late");
    late.say(SECRET);
    let page = until(PATIENCE, || shows(&late.id)).expect("the second one's figures");
    for name in [pod.name.as_str(), "container=\"web\"", "container=\"late\""] {
        assert!(!page.contains(name), "{name} is named:\n{page}");
    }
    assert!(page.contains(&format!("pod=\"{}\"", pod.uid)), "{page}");
    let ended = agent.process.terminate(Duration::from_secs(30));
    assert!(ended.success(), "{}", fs::read_to_string(&agent.said).unwrap());
    assert!(!agent.exported().contains(SECRET), "{}", agent.exported());

    // The log is where one is looked for: without an API server it goes out.
    let agent = Agent::start(&site, "without", &["--no-api"]);
    until(PATIENCE, || agent.exported().contains(SECRET).then_some(())).expect("the log");
}

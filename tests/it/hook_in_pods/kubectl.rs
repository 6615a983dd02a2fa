//! `kubectl ephemon` in a real cluster: it finds the installed agent, reaches it through the API
//! server, and shows a job that the hook ran.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::installed::Installed;
use super::runner::job;
use super::site::{PATIENCE, Site};
use crate::logs::backend::Backend;
use crate::support::collector::Wire;
use crate::support::http::{self, Response};
use crate::support::parts;
use crate::support::process::{Running, said_after, until};
use crate::support::programs;
use crate::support::workflow_images::BUSYBOX;

/// Its name is no other scenario's: the agent has the pods of all namespaces.
const RUNNER: &str = "seen-by-kubectl";

/// kubectl with the plugin on its path.
struct Plugin<'a> {
    site: &'a Site,
    folder: tempfile::TempDir,
}

// === impl Plugin ===

impl<'a> Plugin<'a> {
    fn new(site: &'a Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(programs::ephemon(), folder.path().join("kubectl-ephemon")).unwrap();
        Self { site, folder }
    }

    /// `kubectl ephemon` with these words. kubectl gives a plugin none of its own flags.
    fn command(&self, words: &[&str]) -> Command {
        let kubectl = self.site.kubectl();
        let mut command = Command::new(kubectl.command(&[]).get_program());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = [self.folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(all).unwrap());
        command.env("KUBECONFIG", kubectl.kubeconfig());
        command.arg("ephemon").args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        answered(|| self.command(words))
    }

    fn printed(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Waits until it prints this. The agent may not know of the job yet.
    fn until_printed(&self, words: &[&str], said: &str) -> String {
        let look = || {
            let done = self.run(words);
            let text = String::from_utf8(done.stdout).unwrap();
            (done.status.success() && text.contains(said)).then_some(text)
        };
        until(PATIENCE, look)
            .unwrap_or_else(|| panic!("{words:?}: {said:?} is not in {:?}", self.run(words)))
    }
}

/// Whether the plugin says that an agent or the API server has not answered in time: it gives them seconds.
fn is_late(text: &str) -> bool {
    ["has not answered within ", "no answer within ", " not reached"]
        .iter()
        .any(|words| text.contains(words))
}

/// What comes of a command of the plugin, which is called again if somebody was late for it.
fn answered(command: impl Fn() -> Command) -> Output {
    let output = || command().output().unwrap();
    let is_answered = |done: &Output| !is_late(&String::from_utf8_lossy(&done.stderr));
    until(PATIENCE, || Some(output()).filter(is_answered)).unwrap_or_else(output)
}

/// The page for all nodes; it ends when dropped.
struct Ui {
    _running: Running,
    address: SocketAddr,
}

// === impl Ui ===

impl Ui {
    fn start(plugin: &Plugin<'_>) -> Self {
        let mut running =
            Running::start(plugin.command(&["ui", "--port", "0"]).stderr(Stdio::piped()));
        let address = said_after("http://", running.take_stderr());
        let address = address.trim_end_matches('/').parse().unwrap();
        Self { _running: running, address }
    }

    fn get(&self, path: &str) -> String {
        let get = || http::get(self.address, path, "*/*").unwrap();
        let is_answered = |answer: &Response| !is_late(&answer.body);
        let answer = until(PATIENCE, || Some(get()).filter(is_answered)).unwrap_or_else(get);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }
}

#[test]
fn the_plugin_shows_a_job_of_the_hook_through_the_api_server() {
    let Some(site) = Site::start() else { return };
    let plugin = Plugin::new(&site);
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    // Where there is one in the namespace that is shipped, the plugin looks for no other.
    let agent = Installed::as_shipped(&site, "overlays/otlp", &collector.endpoint());
    let error = plugin.run(&["jobs"]);
    assert!(!error.status.success());
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.contains("node node1: its job page is off"), "{error}");
    let page = ["set", "env", "daemonset/ephemon", "-n", "ephemon", "EPHEMON_PAGE=logs"];
    site.kubectl().run(&page);
    agent.until_ready();

    let runner = site.runner(RUNNER);
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let script = "echo seen from afar; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    assert_eq!(runner.script(&state, script).code, 0);
    let jobs = ["jobs", "-n", site.namespace()];
    for part in [RUNNER, "▶ running", "o/r"] {
        plugin.until_printed(&jobs, part);
    }
    for part in ["__run", "container job", "prepare_job"] {
        plugin.until_printed(&["job", RUNNER], part);
    }
    plugin.until_printed(&["logs", RUNNER, "--container", "job"], "seen from afar");
    plugin.until_printed(&["top", "--containers"], RUNNER);
    let why = plugin.until_printed(&["why", RUNNER], "The longest step");
    assert!(why.contains("on node1"), "{why}");
    with_a_report(&plugin);
    let ui = Ui::start(&plugin);
    let listed = ui.get("/api/v1/jobs");
    let all: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(all["node"], "1 node", "{listed}");
    let mut all = all["jobs"].as_array().unwrap().iter();
    let own = all.find(|job| job["pod"] == RUNNER).unwrap();
    let path = format!("/api/v1/jobs/{}", own["id"].as_str().unwrap());
    assert!(ui.get(&path).contains("__run"));
    assert!(ui.get(&format!("{path}/log?after=0")).contains("seen from afar"));
    drop(ui);
    with_the_rights_of_the_document(&plugin);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);

    let json: Value = serde_json::from_str(&plugin.printed(&["jobs", "-o", "json"])).unwrap();
    let all = json["jobs"].as_array().unwrap();
    let own = all.iter().find(|job| job["pod"] == RUNNER).unwrap();
    assert_eq!((&own["node"], &json["unreachable"]), (&"node1".into(), &json!([])));
}

/// The plugin in a cluster without any agent.
pub(super) fn assert_none_is_found(site: &Site) {
    let error = Plugin::new(site).run(&["jobs"]);
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.contains("no agent in namespace ephemon or any other"), "{error}");
}

/// What the page shows is a file, read through the API server's port-forward.
fn with_a_report(plugin: &Plugin<'_>) {
    let file = plugin.folder.path().join("report.html");
    plugin.printed(&["report", RUNNER, "--html", file.to_str().unwrap()]);
    let html = std::fs::read_to_string(&file).unwrap();
    for part in [RUNNER, "__run", "seen from afar", "class=\"curve s0\"", "</html>"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let markdown = plugin.printed(&["report", RUNNER, "--markdown", "-"]);
    assert!(markdown.contains("  › prepare_job :done, "), "{markdown}");
}

/// The role that the document names is enough, and without its second rule the node is named.
fn with_the_rights_of_the_document(plugin: &Plugin<'_>) {
    let document = parts::repository().join("deploy/docs/kubectl.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, role) = document.split_once("```yaml\n").unwrap();
    let (role, _) = role.split_once("```").unwrap();
    let kubectl = plugin.site.kubectl();
    let namespace = plugin.site.namespace();
    kubectl.run(&["create", "serviceaccount", "viewer", "-n", namespace]);
    let token = kubectl.run(&["create", "token", "viewer", "-n", namespace]);
    let text = std::fs::read_to_string(kubectl.without_user().kubeconfig()).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"] = json!([{"name": "viewer", "user": {"token": token.trim()}}]);
    config["contexts"][0]["context"]["user"] = json!("viewer");
    let file = plugin.folder.path().join("viewer.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let as_viewer = || {
        let done = answered(|| plugin.command(&["jobs", "--kubeconfig", file.to_str().unwrap()]));
        let [out, error] = [done.stdout, done.stderr].map(|it| String::from_utf8(it).unwrap());
        (done.status.success(), out, error)
    };
    let (is_done, _, error) = as_viewer();
    assert!(!is_done && error.contains("cannot list the agents' pods"), "{error}");
    let subject = format!("--serviceaccount={namespace}:viewer");
    let bind = ["create", "rolebinding", "viewer", "--role=ephemon-viewer", "-n", "ephemon"];
    let listing = role.lines().filter(|line| !line.contains("pods/portforward"));
    kubectl.apply(&listing.collect::<Vec<_>>().join("\n"));
    kubectl.run(&[&bind[..], &[subject.as_str()]].concat());
    // Rights take a moment to be in force.
    let seen = |so: &dyn Fn(&(bool, String, String)) -> bool| {
        let look = || Some(as_viewer()).filter(so);
        until(PATIENCE, look).unwrap_or_else(|| panic!("{:?}", as_viewer()))
    };
    seen(&|(is_done, _, error)| {
        !is_done && error.contains("node node1: the API server does not forward its port")
    });
    kubectl.apply(role);
    let (_, listed, _) = seen(&|(is_done, ..)| *is_done);
    assert!(listed.contains(RUNNER), "{listed}");
}

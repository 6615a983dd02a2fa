//! The way of a person who follows the documents: the packaged chart installed and tested, the page
//! turned on, jobs of the hook looked at in a browser while they run and when they are over, their
//! trace and log line found, and everything removed.
//!
//! With `EPHEMON_PICTURES=DIR` it writes pictures of the page there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::agent_pods::{self, AgentPods};
use super::helm::{self, Helm};
use super::kubectl;
use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site};
use crate::logs::backend::Backend;
use crate::support::browser::{self, Browser};
use crate::support::collector::Wire;
use crate::support::jaeger::{self, Jaeger};
use crate::support::parts::{Part, all_there};
use crate::support::process::{Running, output, said_after, until};
use crate::support::workflow_images::{BUSYBOX, EPHEMON};

/// The documents call it `ephemon`, as other scenarios do.
const NAMESPACE: &str = "ephemon-walk";
/// What a release may make outside its namespace.
const KINDS: &str = "clusterroles,clusterrolebindings,priorityclasses,validatingadmissionpolicies,\
    validatingadmissionpolicybindings,customresourcedefinitions,validatingwebhookconfigurations,\
    mutatingwebhookconfigurations";
/// Uses a processor for some seconds, with a line now and then.
const BUILD: &str = "for part in 1 2 3 4; do echo compiling part $part; \
    i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; done; echo '::warning::an old compiler'";

/// A person with a cluster.
struct Person<'a> {
    site: &'a Site,
    helm: Helm,
    agents: AgentPods,
    scratch: TempDir,
    chart: PathBuf,
}

// === impl Person ===

impl<'a> Person<'a> {
    fn new(site: &'a Site) -> Option<Self> {
        let helm = Helm::of(site.kubectl())?;
        let scratch = tempfile::tempdir().unwrap();
        let chart = helm::packaged(&by_digest(site), scratch.path());
        let agents = AgentPods::of(site, NAMESPACE, "ephemon");
        Some(Self { site, helm, agents, scratch, chart })
    }

    fn helm(&self, words: &[&str]) -> String {
        output(&mut self.helm.command(words, NAMESPACE))
    }

    fn kubectl(&self, words: &[&str]) -> String {
        self.site.kubectl().run(&[words, &["-n", NAMESPACE]].concat())
    }

    fn install(&self) {
        self.site.kubectl().run(&["create", "namespace", NAMESPACE]);
        let level = "pod-security.kubernetes.io/enforce=privileged";
        self.site.kubectl().run(&["label", "namespace", NAMESPACE, level]);
        self.helm(&["install", "ephemon", self.chart.to_str().unwrap()]);
        self.agents.until_ready();
    }

    fn upgrade(&self, values: &Value) {
        let file = self.scratch.path().join("values.yaml");
        std::fs::write(&file, values.to_string()).unwrap();
        let chart = self.chart.to_str().unwrap();
        let words = ["upgrade", "ephemon", chart, "--reset-then-reuse-values", "-f"];
        self.helm(&[&words[..], &[file.to_str().unwrap()]].concat());
        self.agents.until_ready();
    }

    /// The page of the agent, by a port-forward that ends when dropped.
    fn forward(&self) -> (Running, String) {
        let node = "spec.nodeName=node1";
        let words =
            ["get", "pods", "-l", agent_pods::LABEL, "--field-selector", node, "-o", "name"];
        let pod = self.kubectl(&words);
        let words = ["port-forward", pod.trim(), ":9911", "-n", NAMESPACE];
        let mut command = self.site.kubectl().command(&words);
        let mut forward = Running::start(command.stdout(Stdio::piped()));
        let said = said_after("127.0.0.1:", forward.take_stdout());
        let (port, _) = said.split_once(' ').expect(&said);
        (forward, format!("http://127.0.0.1:{port}/"))
    }

    /// Objects of the cluster that the release has made.
    fn made(&self) -> Vec<String> {
        let all = self.site.kubectl().run(&["get", KINDS, "-o", "json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let is_own = |one: &&Value| {
            one["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == NAMESPACE
        };
        let own = all["items"].as_array().unwrap().iter().filter(is_own);
        own.map(|one| format!("{}/{}", one["kind"], one["metadata"]["name"])).collect()
    }

    fn remove(&self) {
        self.helm(&["uninstall", "ephemon", "--wait"]);
        self.agents.until_none();
        self.site.kubectl().run(&["delete", "namespace", NAMESPACE, "--timeout=5m"]);
    }
}

impl Drop for Person<'_> {
    fn drop(&mut self) {
        // What a failure has left.
        self.helm.command(&["uninstall", "ephemon"], NAMESPACE).output().ok();
        self.agents.until_none();
        let namespace = ["delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found"];
        self.site.kubectl().command(&namespace).output().ok();
    }
}

/// Gives the image the name by which the packaged chart asks for it, as the document does on a node
/// that pulls from no registry.
fn by_digest(site: &Site) -> String {
    let ctr = |words: &[&str]| {
        output(site.node.inside(site.node.ctr()).args(["-n", "k8s.io"]).args(words))
    };
    let listed = ctr(&["images", "ls", &format!("name=={EPHEMON}")]);
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).expect(&listed);
    let name = format!("{}@{digest}", EPHEMON.rsplit_once(':').unwrap().0);
    ctr(&["images", "tag", "--force", EPHEMON, &name]);
    name
}

/// A runner with a job of this key, of a run of its own.
fn runner(site: &Site, name: &str, key: &str, run: &str) -> Runner {
    let mut runner = site.runner(name);
    for (name, value) in [
        ("GITHUB_JOB", key),
        ("GITHUB_RUN_ID", run),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_WORKFLOW", "CI"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ] {
        runner.env.push((name.to_owned(), value.to_owned()));
    }
    runner
}

fn step(runner: &mut Runner, state: &Value, name: &str, script: &str) -> i32 {
    runner.env.push(("GITHUB_ACTION".to_owned(), name.to_owned()));
    runner.script(state, script).code
}

fn over(site: &Site, runner: &Runner, state: &Value) {
    assert_eq!(runner.call("cleanup_job", &json!({}), state).code, 0);
    let words = ["delete", "pod", &runner.name, "-n", site.namespace(), "--wait=false"];
    site.kubectl().run(&words);
}

/// Opens a job of the list by its name.
fn open(browser: &mut Browser, address: &str, name: &str) {
    browser.open(&format!("{address}#/"));
    let link = format!(
        "[...document.querySelectorAll('tbody a')].find((it) => it.textContent == '{name}')"
    );
    // The list may be drawn anew between a look and a click.
    browser.until(&format!("(() => {{ const it = {link}; it?.click(); return it; }})()"));
    browser.until(&format!("document.querySelector('h1').textContent == '{name}'"));
}

/// The whole page at these widths and in both schemes: nothing is wider than the window, and people
/// can look at the pictures.
fn look(browser: &mut Browser, name: &str) {
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (400, "light")] {
        browser.look(width, 900, scheme);
        // The charts are drawn anew for the width in a later frame.
        browser.until(&format!("document.documentElement.scrollWidth <= {width}"));
        if let Some(folder) = std::env::var_os("EPHEMON_PICTURES") {
            let high = browser.value("document.documentElement.scrollHeight").as_u64().unwrap();
            browser.look(width, u32::try_from(high).unwrap(), scheme);
            browser.value("new Promise((done) => setTimeout(done, 300))");
            browser.picture(&Path::new(&folder).join(format!("{name}-{width}-{scheme}.png")));
        }
    }
    browser.look(1200, 900, "light");
}

#[test]
fn the_documents_lead_from_the_packaged_chart_to_a_jobs_page_trace_and_line_and_back() {
    let parts = [browser::PROGRAM, jaeger::PROGRAM].map(Part::Program);
    if !all_there(&parts) {
        return;
    }
    let Some(site) = Site::alone() else { return };
    let Some(person) = Person::new(&site) else { return };
    // Scenarios with agents are not beside this one.
    kubectl::assert_none_is_found(&site);
    person.install();
    person.helm(&["test", "ephemon"]);
    let made = person.made();
    assert!(made.iter().any(|name| name.contains("ClusterRole")), "{made:?}");

    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let jaeger = Jaeger::start_on(site.node.gateway(), person.scratch.path());
    let traces = format!("http://{}/v1/traces", jaeger.otlp_http());
    person.upgrade(&json!({
        "page": {"show": "logs", "traceUrl": "https://jaeger.example/trace/{trace_id}"},
        "otlp": {"endpoint": collector.endpoint()},
        "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "value": traces}],
    }));
    let (_forward, address) = person.forward();
    let mut browser = Browser::start();
    browser.open(&address);
    browser.until("document.getElementById('connection')?.textContent == 'live'");
    look(&mut browser, "none");

    let mut good = runner(&site, "runner-1", "build", "14460881260");
    let web = json!({"entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80"], "portMappings": ["80"]});
    let state = good.prepare(&job(BUSYBOX, ""), &[container(BUSYBOX, &web)]);
    assert_eq!(step(&mut good, &state, "checkout", "echo a line of the walk"), 0);
    assert_eq!(step(&mut good, &state, "compile", BUILD), 0);
    open(&mut browser, &address, "build");
    let row = |name: &str| {
        format!(
            "[...document.querySelectorAll('tbody th')].find((it) => it.textContent == '{name}')"
        )
    };
    for shown in [
        &row("compile"),
        &row("job"),
        "document.querySelector('.badge.big').textContent.includes('running')",
        "document.querySelectorAll('.curve').length >= 2",
        "document.querySelector('.log').textContent.includes('a line of the walk')",
        "document.querySelector('.links').textContent.includes('Run on github.com')",
    ] {
        browser.until(shown);
    }
    look(&mut browser, "running");
    over(&site, &good, &state);
    browser.until("document.querySelector('.badge.big').textContent.includes('success')");
    look(&mut browser, "success");
    let trace_link = browser.value("document.querySelector('.links a[href*=\"/trace/\"]').href");

    let mut bad = runner(&site, "runner-2", "test", "14460881261");
    let state = bad.prepare(&job(BUSYBOX, ""), &[]);
    assert_eq!(step(&mut bad, &state, "unit", "echo '::error::2 is not 3'; exit 3"), 3);
    over(&site, &bad, &state);
    open(&mut browser, &address, "test");
    browser.until("document.querySelector('.badge.big').textContent.includes('failure')");
    look(&mut browser, "failure");
    browser.open(&format!("{address}#/"));
    browser.until(&row("build"));
    look(&mut browser, "jobs");
    assert_eq!(browser.troubles(), [""; 0]);

    let id = trace_link.as_str().unwrap().rsplit('/').next().unwrap();
    let whole = || {
        let names = jaeger.names(id);
        let has = |name: &str| names.iter().any(|one| one == name);
        ["build", "checkout", "compile", "prepare"].iter().all(|name| has(name)).then_some(())
    };
    until(PATIENCE, whole).unwrap_or_else(|| panic!("{trace_link}: {:?}", jaeger.names(id)));
    let line = || {
        let lines = collector.lines();
        let own = lines.iter().find(|line| line.body == "a line of the walk")?;
        (own.trace_id == id).then_some(())
    };
    until(PATIENCE, line).unwrap_or_else(|| panic!("{:?}", collector.lines()));

    person.remove();
    assert_eq!(person.made(), [""; 0]);
    // What the document says to delete by hand, and nothing but that.
    let state = site.node.path("/var/lib/ephemon");
    assert!(state.exists());
    std::fs::remove_dir_all(state).unwrap();
}

//! The chart as a cluster has it: installed by `helm`, asked by its own test, upgraded and uninstalled,
//! with runners in namespaces of other releases, which its policies guard all the while and after.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::installed::AGENT;
use super::policies::{Account, with};
use super::site::{PATIENCE, Site};
use crate::support::parts::{self, alone};
use crate::support::process::{output, until};
use crate::support::real_node::Kubectl;
use crate::support::workflow_images::{BUSYBOX, EPHEMON};

/// The namespace of the agent's release.
const NAMESPACE: &str = "ephemon-chart";
/// The account of the other release's runners, which the policies would not know by its name.
const ACCOUNT: &str = "builders";

/// `helm`, the chart, and a cluster.
struct Chart<'a> {
    helm: PathBuf,
    kubectl: &'a Kubectl,
}

// === impl Chart ===

impl<'a> Chart<'a> {
    /// None where `helm` is not there and cannot be built; says so.
    fn of(site: &'a Site) -> Option<Self> {
        let script = "import tools; print(tools.tool('helm'))";
        let mut python = Command::new("python3");
        python.args(["-B", "-c", script]).current_dir(parts::repository().join("deploy"));
        let done = python.output().ok().filter(|done| done.status.success());
        let Some(done) = done else {
            assert!(std::env::var_os("CI").is_none(), "CI must have helm, as deploy/check does");
            eprintln!("skipped: deploy/tools.py cannot build helm here");
            return None;
        };
        // Before it, that it was fetched.
        let helm = String::from_utf8(done.stdout).unwrap().lines().last().unwrap().into();
        Some(Self { helm, kubectl: site.kubectl() })
    }

    /// What a release is made of: the images of this rig, and these values.
    fn run(&self, words: &[&str], release: &str, namespace: &str, values: &[String]) -> String {
        let [image, test] = [EPHEMON, BUSYBOX].map(|name| name.rsplit_once(':').unwrap());
        let mut command = Command::new(&self.helm);
        command.args(words).arg(release).arg(parts::repository().join("deploy/helm/ephemon"));
        command.args(["--namespace", namespace, "--kubeconfig"]).arg(self.kubectl.kubeconfig());
        // A tag of digits is a number to `--set`, and refused.
        for value in [
            format!("image.repository={},image.tag={}", image.0, image.1),
            format!("tests.image.registry=,tests.image.repository={}", test.0),
            format!("tests.image.tag={},tests.image.digest=", test.1),
        ] {
            command.args(["--set-string", &value]);
        }
        for value in values {
            command.args(["--set", value]);
        }
        output(&mut command)
    }

    fn install(&self, release: &str, namespace: &str, values: &[String]) -> Installed<'_> {
        // The site has applied the policies of deploy/hook by kubectl, as somebody who comes from there.
        let words = ["install", "--take-ownership", "--force-conflicts", "--wait"];
        self.run(&words, release, namespace, values);
        let (release, namespace) = (release.to_owned(), namespace.to_owned());
        Installed { chart: self, release, namespace, gone: false }
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let listed = self.kubectl.run(&["get", kind, "-o", "name"]);
        listed.lines().map(str::to_owned).collect()
    }
}

/// A release; it is uninstalled when dropped.
struct Installed<'a> {
    chart: &'a Chart<'a>,
    release: String,
    namespace: String,
    gone: bool,
}

// === impl Installed ===

impl Installed<'_> {
    fn uninstall(&mut self) {
        let mut command = Command::new(&self.chart.helm);
        command.args(["uninstall", "--wait", &self.release, "--namespace", &self.namespace]);
        command.arg("--kubeconfig").arg(self.chart.kubectl.kubeconfig());
        let done = command.output();
        self.gone = true;
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.until_no_agent();
    }

    /// One that still ends holds the node's lock.
    fn until_no_agent(&self) {
        self.chart.kubectl.until_no_pod(&self.namespace, AGENT);
    }

    /// The agent's pod.
    fn pod(&self) -> Value {
        let words = ["get", "pods", "-n", &self.namespace, "-l", AGENT, "-o", "json"];
        let all: Value = serde_json::from_str(&self.chart.kubectl.run(&words)).unwrap();
        let live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        all["items"].as_array().unwrap().iter().find(live).cloned().unwrap_or(Value::Null)
    }

    /// Runs the pod of `helm test`. The node has no DNS: the pod's address takes the Service's place.
    fn test(&self) {
        let words = ["template", "--show-only", "templates/tests/metrics.yaml"];
        let text = self.chart.run(&words, &self.release, &self.namespace, &[]);
        let service = format!("{}.{}.svc", self.release, self.namespace);
        assert!(text.contains(&service), "{text}");
        let address = self.pod()["status"]["podIP"].as_str().unwrap().to_owned();
        self.chart.kubectl.apply(&text.replace(&service, &address));
        let name = format!("{}-test", self.release);
        let phase = || {
            let pod = self.chart.kubectl.get(&self.namespace, "pod", &name)?;
            let phase = pod["status"]["phase"].as_str()?.to_owned();
            ["Succeeded", "Failed"].contains(&phase.as_str()).then_some(phase)
        };
        let phase = until(PATIENCE, phase).expect("the test ends");
        let log = self.chart.kubectl.run(&["logs", &name, "-n", &self.namespace]);
        assert_eq!(phase, "Succeeded", "{log}");
        assert!(log.starts_with("ephemon_agent_build_info{"), "{log}");
    }
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        if !self.gone {
            let mut command = Command::new(&self.chart.helm);
            command.args(["uninstall", &self.release, "--namespace", &self.namespace]);
            command.arg("--kubeconfig").arg(self.chart.kubectl.kubeconfig()).output().ok();
            self.until_no_agent();
        }
    }
}

fn namespace(kubectl: &Kubectl, name: &str, label: &str) {
    kubectl.apply(
        &json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {label: "true"}},
        })
        .to_string(),
    );
}

/// What an account is told when it makes a Secret.
fn secret_of(site: &Site, namespace: &str, account: &str) -> String {
    let token = site.kubectl().run(&["create", "token", account, "-n", namespace]);
    let words = ["--token", token.trim(), "-n", namespace, "create", "-f", "-"];
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "tried", "labels": {"runner-pod": "any"}},
    });
    let done = site.kubectl().without_user().try_with(&words, &secret.to_string());
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn the_chart_installs_upgrades_and_leaves_the_namespaces_of_others_guarded() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    let Some(chart) = Chart::of(&site) else { return };
    let own = format!("chart-a-{:08x}", fastrand::u32(..));
    let other = format!("chart-b-{:08x}", fastrand::u32(..));
    namespace(site.kubectl(), NAMESPACE, "ephemon.test/chart");
    for name in [&own, &other] {
        namespace(site.kubectl(), name, "ephemon.dev/runners");
    }
    let values = [
        format!("hook.enabled=true,hook.namespaces={{{own}}}"),
        format!("hook.policies.serviceAccounts={{{ACCOUNT}}}"),
    ];
    let mut agent = chart.install("ephemon", NAMESPACE, &values);
    let mut second = chart.install(
        "second",
        &other,
        &[
            format!("agent.enabled=false,hook.enabled=true,hook.namespaces={{{other}}}"),
            format!("hook.policies.create=false,hook.serviceAccount.name={ACCOUNT}"),
        ],
    );
    agent.test();

    // The policies of the one release hold in the namespaces of all, the account's name being known.
    let runner = site.runner("runner-1");
    let account = Account::of(&site, &runner.name);
    let privileged = with(&json!({"securityContext": {"privileged": true}}));
    let guarded = || account.adds(&runner.name, &privileged).err();
    assert!(guarded().is_some_and(|said| said.contains("privileged")));
    for (place, name) in [(&own, "ephemon-runner"), (&other, ACCOUNT)] {
        let held = || secret_of(&site, place, name).contains("of its own pod only").then_some(());
        until(PATIENCE, held).unwrap_or_else(|| panic!("{}", secret_of(&site, place, name)));
    }

    let before = agent.pod()["metadata"]["uid"].clone();
    let words = ["upgrade", "--wait"];
    let upgraded = [&values[..], &["agent.log=debug".to_owned()]].concat();
    chart.run(&words, "ephemon", NAMESPACE, &upgraded);
    until(PATIENCE, || (agent.pod()["metadata"]["uid"] != before).then_some(()))
        .expect("the agent is replaced");

    let policies = chart.names("validatingadmissionpolicies,validatingadmissionpolicybindings");
    second.uninstall();
    assert_eq!(site.kubectl().get(&other, "serviceaccount", ACCOUNT), None);
    assert!(site.kubectl().get(&own, "serviceaccount", "ephemon-runner").is_some());
    agent.uninstall();
    assert_eq!(site.kubectl().get(NAMESPACE, "daemonset", "ephemon"), None);
    let left = chart.names("validatingadmissionpolicies,validatingadmissionpolicybindings");
    assert!(left.len() == 6 && left == policies, "{left:?}");
    assert!(guarded().is_some_and(|said| said.contains("privileged")));
    for name in [NAMESPACE, &own, &other] {
        site.kubectl().run(&["delete", "namespace", name, "--wait=false"]);
    }
}

//! The chart as a cluster has it: installed by `helm`, asked by its own test, upgraded and uninstalled,
//! with runners in namespaces of other releases, which its policies guard all the while and after.

use serde_json::json;

use super::agent_pods::AgentPods;
use super::helm::Helm;
use super::policies::{Account, with};
use super::site::{PATIENCE, Site};
use crate::support::parts;
use crate::support::process::{output, until};
use crate::support::real_node::Kubectl;
use crate::support::workflow_images::EPHEMON;

/// The namespace of the agent's release.
const NAMESPACE: &str = "ephemon-chart";
/// The account of the other release's runners, which the policies would not know by its name.
const ACCOUNT: &str = "builders";

/// `helm`, the chart, and a cluster.
struct Chart<'a> {
    helm: Helm,
    site: &'a Site,
}

// === impl Chart ===

impl<'a> Chart<'a> {
    fn of(site: &'a Site) -> Option<Self> {
        Some(Self { helm: Helm::of(site.kubectl())?, site })
    }

    /// What a release is made of: the image of this rig, and these values.
    fn run(&self, words: &[&str], release: &str, namespace: &str, values: &[String]) -> String {
        let (image, tag) = EPHEMON.rsplit_once(':').unwrap();
        let mut command = self.helm.command(words, namespace);
        command.arg(release).arg(parts::repository().join("deploy/helm/ephemon"));
        // A tag of digits is a number to `--set`, and refused.
        command.args(["--set-string", &format!("image.repository={image},image.tag={tag}")]);
        for value in values {
            command.args(["--set", value]);
        }
        output(&mut command)
    }

    fn install(&self, release: &str, namespace: &str, values: &[String]) -> Installed<'_> {
        // The site has applied the policies of deploy/hook by kubectl, as somebody who comes from there.
        let words = ["install", "--take-ownership", "--force-conflicts", "--wait"];
        self.run(&words, release, namespace, values);
        let pods = AgentPods::of(self.site, namespace, release);
        let (release, namespace) = (release.to_owned(), namespace.to_owned());
        Installed { chart: self, release, namespace, pods, gone: false }
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let listed = self.site.kubectl().run(&["get", kind, "-o", "name"]);
        listed.lines().map(str::to_owned).collect()
    }
}

/// A release; it is uninstalled when dropped.
struct Installed<'a> {
    chart: &'a Chart<'a>,
    release: String,
    namespace: String,
    pods: AgentPods,
    gone: bool,
}

// === impl Installed ===

impl Installed<'_> {
    fn uninstall(&mut self) {
        let words = ["uninstall", "--wait", &self.release];
        let done = self.chart.helm.command(&words, &self.namespace).output();
        self.gone = true;
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.pods.until_none();
    }

    /// `helm test`, whose pod finds an agent by the Service's name.
    fn test(&self) {
        let words = ["test", &self.release, "--timeout", "2m"];
        let done = self.chart.helm.command(&words, &self.namespace).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        let succeeded = done.status.success() && said.contains("Succeeded");
        assert!(succeeded, "{said}{}\n{}", String::from_utf8_lossy(&done.stderr), self.test_log());
    }

    /// What the pod of a test that failed has written; it stays until the next.
    fn test_log(&self) -> String {
        let name = format!("{}-test", self.release);
        let words = ["logs", &name, "-n", &self.namespace];
        let done = self.chart.site.kubectl().command(&words).output().unwrap();
        [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    }
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        if !self.gone {
            let words = ["uninstall", &self.release];
            self.chart.helm.command(&words, &self.namespace).output().ok();
            self.pods.until_none();
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
    let Some(site) = Site::alone() else { return };
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

    let before = agent.pods.live()["metadata"]["uid"].clone();
    let words = ["upgrade", "--wait"];
    let upgraded = [&values[..], &["agent.log=debug".to_owned()]].concat();
    chart.run(&words, "ephemon", NAMESPACE, &upgraded);
    until(PATIENCE, || (agent.pods.live()["metadata"]["uid"] != before).then_some(()))
        .expect("the agent is replaced");

    let policies = chart.names("validatingadmissionpolicies,validatingadmissionpolicybindings");
    second.uninstall();
    assert_eq!(site.api().get(&other, "serviceaccount", ACCOUNT), None);
    assert!(site.api().get(&own, "serviceaccount", "ephemon-runner").is_some());
    agent.uninstall();
    assert_eq!(site.api().get(NAMESPACE, "daemonset", "ephemon"), None);
    let left = chart.names("validatingadmissionpolicies,validatingadmissionpolicybindings");
    assert!(left.len() == 6 && left == policies, "{left:?}");
    assert!(guarded().is_some_and(|said| said.contains("privileged")));
    for name in [NAMESPACE, &own, &other] {
        site.kubectl().run(&["delete", "namespace", name, "--wait=false"]);
    }
}

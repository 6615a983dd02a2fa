//! The agent as a cluster runs it: objects of `deploy/kustomize`, applied with `kubectl`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::agent_pods::AgentPods;
use super::site::{PATIENCE, Site};
use crate::support::agent::TEXT;
use crate::support::exposition::Ledger;
use crate::support::http::{self, Response};
use crate::support::parts;
use crate::support::process::{output, until};
use crate::support::real_node::Kubectl;
use crate::support::real_node_images;
use crate::support::workflow_images::EPHEMON;

/// The namespace of the kustomization, and the name of its objects.
const SHIPPED: &str = "ephemon";
/// The image that the base names.
const IMAGE: &str = concat!("image: ephemon:", env!("CARGO_PKG_VERSION"));
/// Where the agent serves.
const PORT: u16 = 9911;
/// The endpoint that the component `otlp` names.
const ENDPOINT: &str = "http://otel-collector.observability:4318";

/// What the agent logs when the API server answers after it did not.
const ANSWERS_AGAIN: &str = "the API server answers again";
/// Most outages of the API server in a scenario that a busy machine explains: the agent waits half a minute
/// for an answer, and logs an outage once, so more of them are minutes without one.
const LATE_ANSWERS: usize = 3;

/// An installed agent; it is uninstalled when dropped. What is asked of its metrics is of one site.
pub(super) struct Installed {
    kubectl: Kubectl,
    /// The site's namespace.
    namespace: String,
    /// The agent's.
    place: String,
    objects: String,
    pods: AgentPods,
}

// === impl Installed ===

impl Installed {
    /// Applies an overlay, or the base, as it is shipped. No other agent may be there in this way.
    pub(super) fn as_shipped(site: &Site, directory: &str, endpoint: &str) -> Self {
        Self::rendered(site, &shipped().join(directory), endpoint, SHIPPED)
    }

    /// Applies an overlay, or the base, by an overlay of one's own that gives all of it names of its own,
    /// and waits until its pod is ready.
    pub(super) fn apply(site: &Site, directory: &str, endpoint: &str) -> Self {
        Self::overlaid(site, directory, &[], endpoint)
    }

    /// The same with the base and several components.
    pub(super) fn with(site: &Site, components: &[&str], endpoint: &str) -> Self {
        Self::overlaid(site, "base", components, endpoint)
    }

    fn overlaid(site: &Site, resource: &str, components: &[&str], endpoint: &str) -> Self {
        let suffix = format!("-{:08x}", fastrand::u32(..));
        let name = format!("{SHIPPED}{suffix}");
        let overlay = site.node.folder().join(format!("overlay{suffix}"));
        std::fs::create_dir(&overlay).unwrap();
        // Paths must be relative: up to the root, and down.
        let up = "../".repeat(overlay.components().count() - 1);
        let shipped = format!("{up}{}", shipped().strip_prefix("/").unwrap().display());
        let components = components
            .iter()
            .map(|name| format!("{shipped}/components/{name}"))
            .collect::<Vec<_>>();
        // Agents that share a folder on the node refuse to run beside each other. `minimal` has none there.
        let state = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": SHIPPED},
            "spec": {"template": {"spec": {"volumes": [
                {"name": "state", "hostPath": {"path": format!("/var/lib/{name}")}},
            ]}}},
        });
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [format!("{shipped}/{resource}")], "components": components,
            // Kustomize leaves the names of namespaces alone.
            "namespace": name, "nameSuffix": suffix,
            "patches": if resource == "overlays/minimal" { json!([]) } else { json!([{"patch": state.to_string()}]) },
        });
        std::fs::write(overlay.join("kustomization.yaml"), kustomization.to_string()).unwrap();
        Self::rendered(site, &overlay, endpoint, &name)
    }

    /// `place`: the agent's namespace and the name of its objects, as what is rendered has them.
    fn rendered(site: &Site, directory: &Path, endpoint: &str, place: &str) -> Self {
        real_node_images::import_once(&site.node);
        let kubectl = site.node.kubectl();
        let rendered = output(kubectl.command(&["kustomize"]).arg(directory));
        assert!(
            rendered.contains(IMAGE),
            "{} must name the image as {IMAGE:?}",
            directory.display()
        );
        let objects =
            rendered.replace(IMAGE, &format!("image: {EPHEMON}")).replace(ENDPOINT, endpoint);
        kubectl.apply(&objects);
        let pods = AgentPods::of(site, place, place);
        let (namespace, place) = (site.namespace().to_owned(), place.to_owned());
        let installed = Self { kubectl, namespace, place, objects, pods };
        installed.until_ready();
        installed
    }

    /// Waits until every pod of the `DaemonSet` is ready and none of an older one is left.
    pub(super) fn until_ready(&self) {
        self.pods.until_ready();
    }

    /// Replaces the pod as an upgrade does, and waits until the new one is ready.
    pub(super) fn replace(&self) {
        let before = self.pod()["metadata"]["uid"].clone();
        self.pods.restart();
        self.until_ready();
        assert_ne!(self.pod()["metadata"]["uid"], before);
    }

    /// The agent's pod.
    pub(super) fn pod(&self) -> Value {
        self.pods.live()
    }

    /// What the agent has logged.
    pub(super) fn log(&self) -> String {
        self.pods.log()
    }

    /// What `ephemon agent --check` prints in its container, asked for as the documents say.
    pub(super) fn check(&self) -> String {
        let pod = self.pod();
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.kubectl.run(&["exec", name, "-n", &self.place, "--", "ephemon", "agent", "--check"])
    }

    /// The messages of its log that are no information, without those about other sites' pods: such a pod
    /// may just be going when the agent starts; and without answers that came too late on a busy machine, if
    /// they are few and the API server has answered since.
    pub(super) fn complaints(&self) -> Vec<String> {
        let is_harmless = |line: &&str| line.contains("\"level\":\"INFO\"") || line.is_empty();
        let is_others = |line: &&str| line.contains("runners-") && !line.contains(&self.namespace);
        let is_late = |line: &&str| line.contains("no answer in ") && line.contains("retrying");
        // An outage that goes on is logged no second time.
        let is_over = |log: &String| {
            let mut lines = log.lines().rev();
            let last = lines.find(|line| is_late(line) || line.contains(ANSWERS_AGAIN));
            last.is_none_or(|line| !is_late(&line))
        };
        let log = until(PATIENCE, || Some(self.log()).filter(is_over));
        let (log, is_over) = log.map_or_else(|| (self.log(), false), |log| (log, true));
        let is_excused = is_over && log.lines().filter(is_late).count() <= LATE_ANSWERS;
        let complaints = log.lines().filter(|line| !is_harmless(line) && !is_others(line));
        complaints.filter(|line| !(is_excused && is_late(line))).map(str::to_owned).collect()
    }

    /// Where its pod serves, once that has an address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let address = self.pod()["status"]["podIP"].as_str()?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    }

    /// One request to its pod.
    pub(super) fn get(&self, path: &str) -> Option<Response> {
        http::get(self.address()?, path, TEXT).ok()
    }

    /// Scrapes once into the ledger; none if nothing comes.
    pub(super) fn scrape_into(&self, ledger: &mut Ledger) -> Option<()> {
        ledger.enter(&self.get("/metrics").filter(|answer| answer.status == 200)?.body);
        Some(())
    }

    /// Scrapes until all that has come satisfies.
    pub(super) fn scrape_until<T>(&self, mut satisfied: impl FnMut(&Ledger) -> Option<T>) -> T {
        let mut ledger = Ledger::of_namespace(&self.namespace);
        until(PATIENCE, || {
            self.scrape_into(&mut ledger)?;
            satisfied(&ledger)
        })
        .unwrap_or_else(|| {
            let page = self.get("/metrics").map(|answer| answer.body).unwrap_or_default();
            let is_own = |line: &&str| line.contains(&self.namespace) && !line.contains("_bucket");
            let own: Vec<_> = page.lines().filter(is_own).collect();
            let (question, log) = (ledger.last_question(), self.log());
            panic!("not in the metrics: {question}\n{}\n{log}", own.join("\n"))
        })
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The next one as shipped has the same names.
        let wait = format!("--wait={}", self.place == SHIPPED);
        let words = ["delete", "--ignore-not-found", &wait, "--timeout=60s", "-f", "-"];
        drop(self.kubectl.try_with(&words, &self.objects));
        self.pods.until_none();
    }
}

fn shipped() -> PathBuf {
    parts::repository().join("deploy/kustomize")
}

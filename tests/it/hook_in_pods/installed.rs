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

/// Most outages of one kind in a scenario that a busy machine explains: the agent waits for seconds, of the
/// API server's watch for half a minute, and logs an outage once.
pub(super) const LATE_ANSWERS: usize = 3;

/// What an agent logs of an answer that was too late on a busy machine.
struct Late {
    /// In the line of one.
    words: &'static [&'static str],
    /// Logged when there are answers again; none where nothing more need be asked.
    again: Option<&'static str>,
}

/// Logged when the runtime has taken the agent's plugin, for the first time or again.
const TAKEN: Option<&str> = Some("tells of starts and ends (NRI)");
/// Before the reason for which a session with the runtime has ended.
const NO_SESSION: &str = "limits are not set at the creation of containers: ";

static LATE_KINDS: [Late; 6] = [
    Late { words: &["no answer in ", "; retrying"], again: Some("the API server answers again") },
    // Of a runner's job, which is over by the time that it would be asked again.
    Late {
        words: &[
            "cannot get ephemeralrunners.actions.github.com: no answer in ",
            " s; it is tried again for each job",
        ],
        again: None,
    },
    Late {
        words: &[
            "the runtime at ",
            " does not answer ",
            "Continuing without the runtime; retrying",
        ],
        again: Some("the runtime answers again"),
    },
    // The runtime ends a session in which an answer was too late; who writes at that moment finds it broken.
    Late {
        words: &[NO_SESSION, "the runtime has closed the connection", "; retrying"],
        again: TAKEN,
    },
    Late {
        words: &[NO_SESSION, "the connection to the runtime broke", "; retrying"],
        again: TAKEN,
    },
    Late { words: &[NO_SESSION, "does not complete the registration", "; retrying"], again: TAKEN },
];

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

    /// The complaints in its log, see [`complaints`].
    pub(super) fn complaints(&self) -> Vec<String> {
        complaints(|| self.log(), &self.namespace)
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

// === impl Late ===

impl Late {
    fn is_told_in(&self, line: &str) -> bool {
        self.words.iter().all(|words| line.contains(words))
    }

    /// How often there were no answers in time. What goes on is logged again only for another reason.
    fn outages(&self, log: &str) -> usize {
        let is_told = |text: &&str| text.lines().any(|line| self.is_told_in(line));
        match self.again {
            Some(again) => log.split(again).filter(is_told).count(),
            None => log.lines().filter(is_told).count(),
        }
    }

    /// How often there were answers again, or at first. An outage that begins anew soon after another's end
    /// is part of that, and is not logged.
    fn recoveries(&self, log: &str) -> usize {
        self.again.map_or(0, |again| log.matches(again).count())
    }

    /// Whether it is what a busy machine explains.
    fn is_excused(&self, log: &str) -> bool {
        let few = LATE_ANSWERS;
        self.is_over(log) && self.outages(log) <= few && self.recoveries(log) <= few + 1
    }

    /// Whether there are answers again.
    fn is_over(&self, log: &str) -> bool {
        self.again.is_none_or(|again| {
            let since = log.rsplit(again).next().unwrap_or_default();
            !since.lines().any(|line| self.is_told_in(line))
        })
    }
}

/// The lines of an agent's log that are no information, without those about pods of other sites than this
/// namespace's: such a pod may just be going when the agent starts; and without answers that came too late
/// on a busy machine, if they are few and there were answers since.
pub(super) fn complaints(log: impl Fn() -> String, namespace: &str) -> Vec<String> {
    // By the format for programs, and by that for people: time, level and message.
    let is_information = |line: &str| {
        line.contains("\"level\":\"INFO\"") || line.split_whitespace().nth(1) == Some("INFO")
    };
    let is_harmless = |line: &&str| line.is_empty() || is_information(line);
    let is_others = |line: &&str| line.contains("runners-") && !line.contains(namespace);
    let are_over = |log: &String| LATE_KINDS.iter().all(|late| late.is_over(log));
    let log = until(PATIENCE, || Some(log()).filter(are_over)).unwrap_or_else(&log);
    let excused: Vec<&Late> = LATE_KINDS.iter().filter(|late| late.is_excused(&log)).collect();
    let complaints = log.lines().filter(|line| !is_harmless(line) && !is_others(line));
    let is_late = |line: &&str| excused.iter().any(|late| late.is_told_in(line));
    complaints.filter(|line| !is_late(line)).map(str::to_owned).collect()
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

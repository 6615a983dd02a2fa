//! What an agent has shown of containers in containers so far. Ended ones are shown for a few scrapes
//! only, so all that has come is kept.

use super::super::installed::Installed;
use super::super::site::{PATIENCE, Site};
use crate::support::agent::Agent;
use crate::support::exposition::Ledger;
use crate::support::process::until;

const CPU: &str = "ephemon_container_cpu_usage_seconds_total";
const ENDED: &str = "ephemon_container_end_time_seconds";
const ERROR: &str = "ephemon_pod_cpu_accounting_error_ratio";
const INFO: &str = "ephemon_container_info";
const QUALITY: &str = "ephemon_container_final_quality_info";

/// The largest accounting error, as a share: what ended containers are charged for after their final reading.
pub(super) const ERROR_LIMIT: f64 = 0.02;

/// A container that is over.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) container_type: String,
    /// Its engine's id.
    pub(super) id: String,
    pub(super) image: String,
    /// CPU time in seconds.
    pub(super) cpu: f64,
    pub(super) quality: String,
}

/// All that has come of one site's pods.
pub(super) struct Shown<'a> {
    namespace: String,
    ledger: Ledger,
    scrape: Box<dyn Fn(&mut Ledger) + 'a>,
    log: Box<dyn Fn() -> String + 'a>,
}

// === impl Shown ===

impl<'a> Shown<'a> {
    /// By the installed agent.
    pub(super) fn installed(site: &Site, agent: &'a Installed) -> Self {
        let scrape = Box::new(|ledger: &mut Ledger| {
            agent.scrape_into(ledger);
        });
        Self::new(site, scrape, Box::new(|| agent.log()))
    }

    /// By a process of the test's own.
    pub(super) fn process(site: &Site, agent: &'a Agent) -> Self {
        Self::new(site, Box::new(|ledger| agent.scrape_into(ledger)), Box::new(|| agent.log()))
    }

    fn new(
        site: &Site,
        scrape: Box<dyn Fn(&mut Ledger) + 'a>,
        log: Box<dyn Fn() -> String + 'a>,
    ) -> Self {
        Self { namespace: site.namespace().to_owned(), ledger: Ledger::default(), scrape, log }
    }

    /// Scrapes until all that has come satisfies.
    pub(super) fn until<T>(&mut self, what: &str, satisfied: impl Fn(&Self) -> Option<T>) -> T {
        let found = until(PATIENCE, || {
            (self.scrape)(&mut self.ledger);
            satisfied(self)
        });
        found.unwrap_or_else(|| {
            panic!("{what}: {:#?}\n{:#?}\n{}", self.all_ended(), self.of_pod(), (self.log)())
        })
    }

    /// CPU time of a container in seconds.
    pub(super) fn cpu(&self, container: &str) -> Option<f64> {
        self.value(CPU, container)
    }

    /// CPU time in seconds that the pod's books have beside the pod.
    pub(super) fn cpu_beside(&self) -> Option<f64> {
        let labels = [("namespace", &*self.namespace)];
        self.ledger.sum("ephemon_pod_beside_cpu_usage_seconds_total", &labels)
    }

    /// A container's end, once all of it was shown.
    pub(super) fn ended(&self, container: &str) -> Option<Ended> {
        let labels = [("namespace", &*self.namespace), ("container", container)];
        self.value(ENDED, container)?;
        let (info, _) = self.ledger.with(INFO, &labels).next()?;
        let (quality, _) = self.ledger.with(QUALITY, &labels).next()?;
        Some(Ended {
            name: container.to_owned(),
            container_type: info.label("container_type").to_owned(),
            id: info.label("container_id").to_owned(),
            image: info.label("image").to_owned(),
            cpu: self.cpu(container)?,
            quality: quality.label("quality").to_owned(),
        })
    }

    /// Waits for a container's end.
    pub(super) fn until_ended(&mut self, container: &str) -> Ended {
        self.until(container, |shown| shown.ended(container))
    }

    /// Every nested container that is over.
    pub(super) fn all_ended(&self) -> Vec<Ended> {
        let labels = [("namespace", &*self.namespace)];
        let names = self.ledger.with(QUALITY, &labels).map(|(series, _)| series.label("container"));
        let ended = names.filter_map(|name| self.ended(name));
        ended.filter(|ended| ended.container_type.starts_with("nested")).collect()
    }

    /// Waits until the pod's containers together are what its own counter has.
    pub(super) fn until_balanced(&mut self) {
        let namespace = self.namespace.clone();
        self.until("the pod's accounting", |shown| {
            let labels = [("namespace", &*namespace)];
            shown.ledger.sum(ERROR, &labels).filter(|error| *error <= ERROR_LIMIT)
        });
    }

    fn value(&self, name: &str, container: &str) -> Option<f64> {
        let labels = [("namespace", &*self.namespace), ("container", container)];
        self.ledger.sum(name, &labels)
    }

    /// For a failure's message.
    fn of_pod(&self) -> Vec<(String, String, f64)> {
        let labels = [("namespace", &*self.namespace)];
        let names = [CPU, ERROR, "ephemon_pod_beside_cpu_usage_seconds_total"];
        let all = names.iter().flat_map(|name| self.ledger.with(name, &labels));
        all.map(|(series, value)| {
            (series.name.clone(), series.label("container").to_owned(), value)
        })
        .collect()
    }
}

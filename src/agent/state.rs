//! `/debug/state`: what the agent is set to, waits for and sees, as JSON, for whoever looks into
//! trouble. Bounded; without secrets: flags hold none, and of pods it has what `/metrics` shows.

use std::sync::{Arc, OnceLock};
#[cfg(test)]
use std::time::Duration;
use std::time::{Instant, SystemTime};

use ephemon_base::{Heartbeat, clock};
use ephemon_discovery::api::RunnerObjects;
use ephemon_discovery::inventory::{EvidenceSource, Inventory, ListedPod};
use ephemon_jobs::JobsView;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::log_level::LogLevel;
use super::readiness::Readiness;
use super::settings::Setting;

/// Pods that are listed.
const PODS_MAX: usize = 80;
/// Containers that are listed of all pods together.
const CONTAINERS_MAX: usize = 150;
/// Memory of one state, as values and as text, for each pod and container a kilobyte and a half.
pub(super) const STATE_BYTES: usize = 1536 * (PODS_MAX + CONTAINERS_MAX);

/// Where the state is read. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StateReader {
    pub(super) settings: Vec<Setting>,
    pub(super) started: SystemTime,
    pub(super) heartbeat: Heartbeat,
    pub(super) readiness: Readiness,
    pub(super) inventory: Inventory,
    pub(super) runner_objects: Arc<OnceLock<RunnerObjects>>,
    pub(super) jobs_view: JobsView,
    pub(super) log_level: LogLevel,
    /// One state is in memory at a time for whoever reads through this.
    pub(super) turn: Arc<Semaphore>,
}

// === impl StateReader ===

impl StateReader {
    /// For other readers, who wait for none of these.
    pub(super) fn apart(&self) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// The state as it is now, and what lends the memory for it; nothing while another is being read.
    pub(super) fn read(&self) -> Option<(Value, OwnedSemaphorePermit)> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        Some((self.value(), turn))
    }

    fn value(&self) -> Value {
        let now = Instant::now();
        let (filter, left) = self.log_level.current(now);
        let mut pods = self.inventory.snapshot();
        let pods_left_out = pods.len().saturating_sub(PODS_MAX);
        pods.truncate(PODS_MAX);
        let mut room = CONTAINERS_MAX;
        let pods = pods.iter().map(|listed| pod(listed, &self.inventory, &mut room));
        let pods: Vec<_> = pods.collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "processId": std::process::id(),
            "startedUnixSeconds": unix_seconds(self.started),
            "settings": self.settings,
            "missingForReadiness": self.readiness.missing(),
            "captureBusySeconds": self.heartbeat.busy_for(now).map(|busy| busy.as_secs_f64()),
            "log": {
                "filter": filter,
                "configuredAgainInSeconds": left.map(|left| left.as_secs()),
            },
            "jobs": self.jobs_view.shown().jobs.len(),
            "ephemeralRunners": self.ephemeral_runners(),
            "pods": pods,
            "podsLeftOut": pods_left_out,
        })
    }

    /// Whether ARC's objects can be read; null before the first was asked for.
    fn ephemeral_runners(&self) -> Value {
        match self.runner_objects.get().and_then(RunnerObjects::last) {
            None => Value::Null,
            Some(Ok(())) => json!({ "readable": true }),
            Some(Err(why)) => json!({ "readable": false, "reason": why }),
        }
    }
}

/// A pod with its newest containers, for which there is `room`.
fn pod(pod: &ListedPod, inventory: &Inventory, room: &mut usize) -> Value {
    let left_out = pod.runs.len().saturating_sub(*room);
    *room -= pod.runs.len() - left_out;
    let mut runs: Vec<_> = pod.runs.iter().collect();
    runs.sort_by_key(|container| container.created);
    let containers = runs.into_iter().skip(left_out).map(|container| {
        let sources = inventory.sources(&container.id).into_iter().map(EvidenceSource::as_str);
        json!({
            "name": container.name.as_ref(),
            "id": container.id.as_str(),
            "type": container.container_type.as_str(),
            "createdUnixSeconds": container.created.and_then(unix_seconds),
            "ended": container.ended,
            "sources": sources.collect::<Vec<_>>(),
        })
    });
    json!({
        "namespace": pod.pod.namespace.as_ref(),
        "name": pod.pod.name.as_ref(),
        "uid": pod.pod.uid.as_str(),
        "listed": pod.listed,
        "containers": containers.collect::<Vec<_>>(),
        "containersLeftOut": left_out,
    })
}

fn unix_seconds(at: SystemTime) -> Option<u64> {
    clock::unix_time(at).map(|since| since.as_secs())
}

#[cfg(test)]
impl StateReader {
    /// Of an agent that has seen nothing yet.
    pub(super) fn of_nothing() -> Self {
        Self {
            settings: Vec::new(),
            started: SystemTime::now(),
            heartbeat: Heartbeat::since(
                Instant::now().checked_sub(Duration::from_hours(1)).unwrap(),
            ),
            readiness: Readiness::default(),
            inventory: Inventory::default(),
            runner_objects: Arc::default(),
            jobs_view: JobsView::default(),
            log_level: LogLevel::new(None, "info".into()),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    #[test]
    fn settings_readiness_and_progress_are_shown() {
        let mut reader = StateReader::of_nothing();
        let setting =
            Setting { flag: "no-api".into(), value: "true".into(), source: Source::CommandLine };
        reader.settings.push(setting);
        let condition = reader.readiness.condition("the first walk");
        let (state, turn) = reader.read().unwrap();
        assert_eq!(state["settings"][0]["source"], "command-line");
        assert_eq!(state["missingForReadiness"][0], "the first walk");
        assert_eq!(state["captureBusySeconds"], Value::Null);
        assert!(reader.read().is_none(), "one at a time");
        drop(turn);
        condition.met();
        reader.heartbeat.work(Instant::now());
        let (state, _turn) = reader.read().unwrap();
        assert_eq!(state["missingForReadiness"], json!([]));
        assert!(state["captureBusySeconds"].is_number());
        assert_eq!((&state["pods"], &state["podsLeftOut"]), (&json!([]), &json!(0)));
    }
}

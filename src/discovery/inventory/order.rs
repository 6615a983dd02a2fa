//! Names containers by order: which log directory a container without a name belongs to. Pure.
//!
//! A kubelet starts the containers of a pod one after the other. It creates a container's log
//! directory, and the runtime its log file, just before the cgroup. So a container belongs to the
//! newest log that was created before it and that no other container of the pod can claim. The
//! sandbox is created before all of them, and has no log.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/kuberuntime_container.go`,
//! `startContainer`; containerd v1.6, `pkg/cri/server/container_start.go`, `StartContainer`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ephemon_model::ContainerId;

/// A log older than this when the cgroup was created does not belong to it: the kubelet waits two
/// minutes for a call of the runtime (`--runtime-request-timeout`).
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// When a container of the pod was created.
#[derive(Debug, Clone)]
pub(super) struct Creation {
    /// The container.
    pub(super) id: ContainerId,
    /// When its cgroup was created.
    pub(super) at: SystemTime,
    /// Its name, if a better source than order provides one.
    pub(super) named: Option<Arc<str>>,
}

/// A log that the kubelet or the runtime created for one start of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Log {
    /// When it was created.
    pub(super) made: SystemTime,
    /// The container's name.
    pub(super) container: Arc<str>,
    /// The number of the attempt: 0 for the first, as in `0.log`.
    pub(super) attempt: u32,
}

/// A name derived from the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The name.
    pub(super) name: Arc<str>,
    /// Whether another log could belong to the container as well.
    pub(super) ambiguous: bool,
}

/// The names that follow from the order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    names: HashMap<ContainerId, Found>,
    sandbox: Option<ContainerId>,
}

// === impl Order ===

impl Order {
    /// The same evidence gives the same answers in any order.
    pub(super) fn of(mut creations: Vec<Creation>, logs: &[Log]) -> Self {
        creations.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let sandbox = sandbox(&creations, logs);
        Self { names: names(creations, logs), sandbox }
    }

    /// The name of a container that is not the sandbox.
    pub(super) fn name(&self, id: &ContainerId) -> Option<&Found> {
        self.names.get(id)
    }

    /// Whether it can only be the pod's sandbox.
    pub(super) fn is_sandbox(&self, id: &ContainerId) -> bool {
        self.sandbox.as_ref() == Some(id)
    }
}

/// The first container, if it was created before any log of the pod.
fn sandbox(creations: &[Creation], logs: &[Log]) -> Option<ContainerId> {
    let first = creations.first().filter(|first| first.named.is_none())?;
    let before_all = !logs.is_empty() && logs.iter().all(|log| log.made > first.at);
    before_all.then(|| first.id.clone())
}

/// Names of containers without one, as far as the order determines them. `births` are sorted by
/// age.
fn names(creations: Vec<Creation>, logs: &[Log]) -> HashMap<ContainerId, Found> {
    let mut free: Vec<&Log> = logs.iter().collect();
    free.sort_unstable();

    for birth in &creations {
        if let Some(name) = &birth.named {
            claim(&mut free, birth.at, |log| log.container == *name);
        }
    }
    let mut found = HashMap::new();
    for birth in creations {
        if birth.named.is_none()
            && let Some(log) = claim(&mut free, birth.at, |_| true)
        {
            let ambiguous = free.iter().any(|log| could_be(log, birth.at));
            found.insert(birth.id, Found { name: log.container.clone(), ambiguous });
        }
    }
    found
}

/// Removes the newest log that was created before `created` and fits from `free`, which is sorted
/// by age.
fn claim<'a>(
    free: &mut Vec<&'a Log>,
    created: SystemTime,
    fits: impl Fn(&Log) -> bool,
) -> Option<&'a Log> {
    let at = free.iter().rposition(|log| could_be(log, created) && fits(log))?;
    Some(free.remove(at))
}

/// Whether a log was created so shortly before a container that it may belong to it.
fn could_be(log: &Log, created: SystemTime) -> bool {
    created.duration_since(log.made).is_ok_and(|age| age <= START_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn id(n: u8) -> ContainerId {
        ContainerId::parse(&format!("{n:064x}")).unwrap()
    }

    fn birth(n: u8, second: u64, named: Option<&str>) -> Creation {
        Creation { id: id(n), at: at(second), named: named.map(Arc::from) }
    }

    fn log(container: &str, attempt: u32, second: u64) -> Log {
        Log { made: at(second), container: container.into(), attempt }
    }

    fn check(creations: &[Creation], logs: &[Log], expected: &[(u8, &str)]) {
        let expected: HashMap<_, Arc<str>> =
            expected.iter().map(|(n, name)| (id(*n), Arc::from(*name))).collect();
        let found = Order::of(creations.to_vec(), logs).names.into_iter();
        assert_eq!(found.map(|(id, found)| (id, found.name)).collect::<HashMap<_, _>>(), expected);
    }

    fn sandbox(creations: &[Creation], logs: &[Log]) -> Option<ContainerId> {
        Order::of(creations.to_vec(), logs).sandbox
    }

    #[test]
    fn each_start_gets_the_log_made_just_before_it() {
        check(
            &[birth(1, 11, None), birth(2, 21, None)],
            &[log("job", 0, 10), log("step-1", 0, 20)],
            &[(1, "job"), (2, "step-1")],
        );
    }

    #[test]
    fn a_sandbox_born_before_any_log_gets_no_name() {
        check(&[birth(1, 5, None)], &[log("job", 0, 10)], &[]);
    }

    #[test]
    fn only_the_first_can_be_the_sandbox_and_only_before_all_logs() {
        let job = birth(2, 11, None);
        let logs = [log("job", 0, 10), log("step-1", 0, 20)];
        let created = |second| [birth(1, second, None), job.clone()];
        assert_eq!(sandbox(&created(5), &logs), Some(id(1)));
        assert_eq!(sandbox(&created(10), &logs), None, "a log of the same moment may be its own");
        assert_eq!(sandbox(&created(5), &[]), None, "without logs nothing is told");
        assert_eq!(sandbox(&[birth(1, 5, Some("job")), job.clone()], &logs), None);
        assert_eq!(sandbox(&[job], &logs), None);
    }

    #[test]
    fn a_log_whose_container_never_got_a_cgroup_is_passed_over() {
        check(
            &[birth(2, 21, None)],
            &[log("nosuch", 0, 10), log("step-1", 0, 20)],
            &[(2, "step-1")],
        );
    }

    #[test]
    fn a_log_that_nobody_claimed_is_a_rival() {
        let ambiguous =
            |logs: &[Log]| Order::of(vec![birth(1, 21, None)], logs).names[&id(1)].ambiguous;
        assert!(ambiguous(&[log("nosuch", 0, 10), log("step-1", 0, 20)]));
        assert!(!ambiguous(&[log("step-1", 0, 20), log("later", 0, 30)]));
    }

    #[test]
    fn a_container_named_by_a_better_source_takes_its_log_first() {
        check(
            &[birth(1, 11, Some("job")), birth(2, 12, None)],
            &[log("job", 0, 10), log("init", 0, 9)],
            &[(2, "init")],
        );
    }

    #[test]
    fn a_restart_is_told_by_its_log_file() {
        check(
            &[birth(1, 11, None), birth(2, 31, None)],
            &[log("svc", 0, 10), log("svc", 1, 30)],
            &[(1, "svc"), (2, "svc")],
        );
    }

    #[test]
    fn an_old_log_is_no_evidence() {
        check(&[birth(1, 1000, None)], &[log("job", 0, 10)], &[]);
    }
}

//! Checks every container with limits: reads those in force, sets what differs, and reports the
//! result.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ephemon_base::warning::Outage;
use ephemon_cgroup::name::KUBEPODS_ROOTS;
use ephemon_cgroup::{Hierarchy, LimitFiles, Refused};
use ephemon_contract::{Limits, LimitsError};
use ephemon_discovery::inventory::{Inventory, Limited};
use ephemon_model::ContainerId;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::{Enforced, SelfMetrics};
use rustix::io::Errno;

use super::case::{Case, SetReason};
use super::decision::decide;
use super::starting::inside;

/// Longest time between checks without an event.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The state of the enforcement.
#[derive(Debug)]
pub(super) struct Enforcer {
    node: NodeRoot,
    inventory: Inventory,
    self_metrics: SelfMetrics,
    /// `None` until the node has a cgroup mount; capture reports its absence.
    hierarchy: Option<Hierarchy>,
    /// Path of the kubelet's tree below the hierarchy's root, if configured.
    kubepods: Option<PathBuf>,
    /// Whether it is known if limits can be set.
    checked: bool,
    cases: HashMap<ContainerId, Case>,
    unwritable: Outage,
}

// === impl Enforcer ===

impl Enforcer {
    pub(super) fn new(
        node: NodeRoot,
        kubepods: Option<PathBuf>,
        inventory: Inventory,
        self_metrics: SelfMetrics,
    ) -> Self {
        Self {
            node,
            inventory,
            self_metrics,
            hierarchy: None,
            kubepods,
            checked: false,
            cases: HashMap::new(),
            unwritable: Outage::default(),
        }
    }

    /// Checks everything that is due. Returns when to check next, unless there is an event.
    pub(super) fn pass(&mut self) -> Instant {
        let now = Instant::now();
        let Some(hierarchy) = self.hierarchy() else {
            return now + PAUSE_MAX;
        };
        self.check(&hierarchy);
        self.follow(now);
        let mut cases = std::mem::take(&mut self.cases);
        for case in cases.values_mut().filter(|case| case.is_due(now)) {
            self.look(&hierarchy, case, now);
        }
        self.cases = cases;
        let next = self.cases.values().filter_map(Case::next).min();
        next.unwrap_or(now + PAUSE_MAX).min(now + PAUSE_MAX)
    }

    fn hierarchy(&mut self) -> Option<Hierarchy> {
        if self.hierarchy.is_none() {
            self.hierarchy = Hierarchy::detect(&self.node.cgroup()).ok();
        }
        self.hierarchy.clone()
    }

    /// Reports before the first container that limits cannot be set. Repeated until the kubelet's
    /// tree exists.
    fn check(&mut self, hierarchy: &Hierarchy) {
        if self.checked {
            return;
        }
        let roots = KUBEPODS_ROOTS.iter().map(Path::new);
        let asked: Vec<&Path> = match &self.kubepods {
            Some(kubepods) => vec![kubepods],
            None => roots.collect(),
        };
        let found =
            asked.into_iter().find_map(|at| match LimitFiles::at(hierarchy, at).is_writable() {
                Ok(false) => None,
                told => Some(told),
            });
        self.checked = found.is_some();
        if let Some(Err(refused)) = found {
            self.say_unwritable(&refused);
        }
    }

    /// Adds new containers, and removes those that have ended.
    fn follow(&mut self, now: Instant) {
        let limited = self.inventory.limited();
        let ids: HashSet<&ContainerId> = limited.iter().map(|limited| &limited.id).collect();
        self.cases.retain(|id, _| ids.contains(id));
        for limited in limited {
            // A better source may have reported another name since, and so other limits.
            match self.cases.get_mut(&limited.id) {
                Some(case) if case.limited.limits == limited.limits => {
                    case.limited.started = limited.started;
                }
                _ => {
                    self.cases.insert(limited.id.clone(), Case::new(limited, now));
                }
            }
        }
    }

    fn look(&mut self, hierarchy: &Hierarchy, case: &mut Case, now: Instant) {
        let asked = match sense(&case.limited.limits) {
            Ok(asked) => asked,
            Err(why) => return self.refuse(case, &why),
        };
        let files = LimitFiles::at(hierarchy, &case.limited.cgroup);
        if case.is_pending() {
            let inside = inside(&files.pids(), &self.node.proc());
            if inside.is_starting(case.age(now), case.limited.started) {
                return case.is_starting(now);
            }
        }
        let Ok(found) = files.read() else {
            return case.is_gone(now);
        };
        let decision = decide(&asked, &found);
        if let (true, Some(missing)) = (case.is_pending(), decision.missing.first()) {
            let why = format!("the cgroup controller `{missing}` is not available on this node");
            self.fail(case, &why);
        }
        for setting in &decision.settings {
            if let Err(refused) = files.set(*setting) {
                return self.refused(case, &refused, now);
            }
        }
        if case.next().is_none() {
            // Its missing controller was reported; what is possible is set.
        } else if decision.settings.is_empty() {
            if case.is_pending() {
                self.count(if decision.tighter { Enforced::Tighter } else { Enforced::Already });
            }
            case.holds(now);
        } else {
            self.say_set(case, &asked, now);
        }
    }

    fn say_set(&self, case: &mut Case, asked: &Limits, now: Instant) {
        let again = case.set(now);
        let Limited { pod, name, created, .. } = &case.limited;
        let (namespace, pod) = (&pod.namespace, &pod.name);
        match again {
            SetReason::First => {
                let after_ms = created.elapsed().unwrap_or_default().as_secs_f64() * 1e3;
                let named_ms = case.age(Instant::now()).as_secs_f64() * 1e3;
                tracing::debug!(
                    %namespace, %pod, container = %name, limits = %asked, after_ms, named_ms,
                    "limits are in force"
                );
                self.count(Enforced::Applied);
            }
            SetReason::Young => {
                tracing::debug!(%namespace, %pod, container = %name, "limits set after the runtime");
            }
            SetReason::Restored => {
                tracing::warn!(
                    %namespace, %pod, container = %name, limits = %asked,
                    "another process removed the limits; they are set again"
                );
                self.count(Enforced::Restored);
            }
            SetReason::TooOften => {
                tracing::warn!(
                    %namespace, %pod, container = %name, limits = %asked,
                    "another process keeps removing the limits; they are not set again. Check \
                     what writes to the container's cgroup"
                );
                self.count(Enforced::Failed);
            }
        }
    }

    fn refused(&mut self, case: &mut Case, refused: &Refused, now: Instant) {
        let path = refused.path.display();
        match refused.source.kind() {
            // With cgroup v1 the directories of the controllers are created and removed one after
            // the other.
            ErrorKind::NotFound => case.is_gone(now),
            ErrorKind::ResourceBusy => match case.is_busy(now) {
                None => {
                    let why = format!(
                        "{path}: the container uses more memory than the limit, and the kernel cannot reclaim enough"
                    );
                    self.fail(case, &why);
                }
                Some(1) => {
                    let Limited { pod, name, .. } = &case.limited;
                    tracing::warn!(
                        namespace = %pod.namespace, pod = %pod.name, container = %name,
                        "{path}: the container uses more memory than its limit; retrying for 30 \
                         seconds"
                    );
                }
                Some(_) => {}
            },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                self.say_unwritable(refused);
                self.count(Enforced::Failed);
                case.give_up();
            }
            _ if refused.source.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                case.is_gone(now);
            }
            _ => self.fail(case, &format!("{path}: {}", refused.source)),
        }
    }

    /// The text is not valid: logged once, nothing is set.
    fn refuse(&self, case: &mut Case, why: &str) {
        let Limited { pod, name, .. } = &case.limited;
        tracing::warn!(
            namespace = %pod.namespace, pod = %pod.name, container = %name,
            "EPHEMON_LIMITS is not enforced: {why}"
        );
        self.count(Enforced::Invalid);
        case.give_up();
    }

    fn fail(&self, case: &mut Case, why: &str) {
        let Limited { pod, name, .. } = &case.limited;
        tracing::warn!(
            namespace = %pod.namespace, pod = %pod.name, container = %name,
            "a limit is not in force: {why}"
        );
        self.count(Enforced::Failed);
        case.give_up();
    }

    fn say_unwritable(&mut self, refused: &Refused) {
        if self.unwritable.begins() {
            tracing::error!(
                "--enforce-limits cannot set limits: {}: {}; mount the host's /sys/fs/cgroup without \
                 readOnly in the agent's DaemonSet and run it as root, or remove the flag (logged \
                 once; ephemon_agent_limit_enforcements_total{{result=\"failed\"}} counts further failures)",
                refused.path.display(),
                refused.source
            );
        }
    }

    fn count(&self, result: Enforced) {
        self.self_metrics.limits_enforced(result);
    }
}

/// The limits, if a container can run with them.
pub(super) fn sense(limits: &Result<Limits, LimitsError>) -> Result<Limits, String> {
    let asked = limits.as_ref().map_err(ToString::to_string)?;
    asked.check().map_err(|senseless| senseless.to_string())?;
    Ok(*asked)
}

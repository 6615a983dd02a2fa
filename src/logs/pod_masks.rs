//! The masks of every pod whose logs are read: kept for as long as the pod's logs are on the node,
//! and within a bound for all pods together.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use ephemon_discovery::logs::names;
use ephemon_mask::job::{JobMasks, Mode};
use ephemon_model::{PodRef, PodUid};

use super::told::Told;

/// Memory that all forms of all values of all pods may take together; one pod can have a third of it
/// ([`MAX_FORMS_BYTES`](ephemon_mask::job::MAX_FORMS_BYTES)).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How often it is looked which pods are gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The masks of all pods.
#[derive(Debug)]
pub(super) struct PodMasks {
    mode: Mode,
    pods: HashMap<PodUid, Pod>,
    /// What the agent knew of them before it was started anew.
    before: Told,
    max_bytes: usize,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Pod {
    name: PodRef,
    masks: JobMasks,
}

// === impl PodMasks ===

impl PodMasks {
    pub(super) fn new(mode: Mode, before: Told) -> Self {
        Self { mode, pods: HashMap::new(), before, max_bytes: MAX_BYTES, looked: None }
    }

    /// One pod's: the same for all its containers.
    pub(super) fn of(&mut self, pod: &PodRef) -> JobMasks {
        let Self { mode, pods, before, .. } = self;
        let entry = pods.entry(pod.uid.clone()).or_insert_with(|| {
            let masks = JobMasks::new(*mode);
            if let Some(before) = before.of(&pod.uid) {
                masks.expect(before);
            }
            Pod { name: pod.clone(), masks }
        });
        entry.masks.clone()
    }

    /// Lets go of the pods whose logs are gone from `logs`, and of which none is `open`. The kubelet
    /// removes a pod's directory after the pod: no container of it can begin any more.
    pub(super) fn forget_gone(
        &mut self,
        logs: &Path,
        open: impl Fn(&PodUid) -> bool,
        now: Instant,
    ) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < SWEEP_INTERVAL)
        {
            return;
        }
        self.looked = Some(now);
        let Some(there) = pods_in(logs) else { return };
        let keep = |uid: &PodUid| open(uid) || there.contains(uid);
        self.pods.retain(|uid, _| keep(uid));
        self.before.retain(keep);
    }

    /// Holds the bound for all pods: the pod that takes most is given up, its masks are let go of,
    /// and its text is withheld from then on. A pod with few values never pays for another's.
    pub(super) fn hold_bound(&mut self) -> Vec<PodRef> {
        let mut given_up = Vec::new();
        let mut sum = self.pods.values().fold(0_usize, |sum, pod| sum + pod.masks.bytes());
        while sum > self.max_bytes {
            let Some(largest) = self.pods.values().max_by_key(|pod| pod.masks.bytes()) else {
                break;
            };
            sum = sum.saturating_sub(largest.masks.bytes());
            largest.masks.give_up();
            given_up.push(largest.name.clone());
        }
        given_up
    }

    /// Which values each pod told, to be saved: also of pods that nobody has asked for yet.
    pub(super) fn told(&self) -> Told {
        let mut told = self.before.clone();
        told.extend(self.pods.iter().map(|(uid, pod)| (uid.clone(), pod.masks.told())));
        told
    }
}

/// The pods that have a directory of logs; none where nobody can tell.
fn pods_in(logs: &Path) -> Option<HashSet<PodUid>> {
    let mut pods = HashSet::new();
    for entry in std::fs::read_dir(logs).ok()? {
        let name = entry.ok()?.file_name();
        pods.extend(name.to_str().and_then(names::pod_directory).map(|pod| pod.uid));
    }
    Some(pods)
}

#[cfg(test)]
mod tests {
    use ephemon_mask::job::ToldValues;

    use super::*;

    fn pod(number: u32) -> PodRef {
        let uid = PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
        PodRef { namespace: "ci".into(), name: format!("r{number}").into(), uid }
    }

    /// So many values, told before.
    fn told(values: usize) -> ToldValues {
        let masks = JobMasks::new(Mode::Masked);
        let values: Vec<String> = (0..values).map(|n| format!("value-{n}")).collect();
        masks.add(values.iter().map(String::as_bytes)).unwrap();
        masks.told()
    }

    fn tell(masks: &mut PodMasks, pod: &PodRef, values: usize) {
        let values: Vec<String> = (0..values).map(|n| format!("{}-value-{n}", pod.name)).collect();
        masks.of(pod).add(values.iter().map(String::as_bytes)).unwrap();
    }

    #[test]
    fn masks_live_as_long_as_the_pods_logs_are_there() {
        let logs = tempfile::tempdir().unwrap();
        let before = [(pod(2).uid, told(3)), (pod(3).uid, told(4))].into_iter().collect();
        let mut masks = PodMasks::new(Mode::Masked, before);
        tell(&mut masks, &pod(1), 1);
        let directory = |number| logs.path().join(format!("ci_r{number}_{}", pod(number).uid));
        for number in [1, 3] {
            std::fs::create_dir(directory(number)).unwrap();
        }
        let mut now = Instant::now();
        let mut forget = |masks: &mut PodMasks, logs: &Path, open: bool| {
            now += SWEEP_INTERVAL;
            masks.forget_gone(logs, |_| open, now);
        };
        forget(&mut masks, &logs.path().join("not there"), false);
        assert_eq!(masks.told().of(&pod(2).uid), Some(&told(3)), "nobody can tell who is gone");
        forget(&mut masks, logs.path(), false);
        assert_eq!(masks.of(&pod(1)).count(), 1, "no log is open, but the pod is there");
        assert_eq!(masks.told().of(&pod(2).uid), None);
        assert_eq!(masks.told().of(&pod(3).uid), Some(&told(4)), "nobody has asked for it yet");
        std::fs::remove_dir(directory(1)).unwrap();
        forget(&mut masks, logs.path(), true);
        assert_eq!(masks.of(&pod(1)).count(), 1, "a log of it is open");
        forget(&mut masks, logs.path(), false);
        assert_eq!(masks.of(&pod(1)).count(), 0);
    }

    #[test]
    fn beyond_the_bound_for_all_the_largest_pod_is_given_up_and_no_other() {
        let mut masks = PodMasks::new(Mode::Masked, Told::default());
        for (number, values) in [(1, 3), (2, 500), (3, 20)] {
            tell(&mut masks, &pod(number), values);
        }
        masks.max_bytes = masks.of(&pod(2)).bytes();
        assert_eq!(masks.hold_bound(), [pod(2)]);
        assert!(masks.of(&pod(2)).overflowed());
        assert_eq!(masks.of(&pod(2)).bytes(), 0, "its memory is free again");
        assert!(!masks.of(&pod(1)).overflowed() && !masks.of(&pod(3)).overflowed());
        assert_eq!(masks.hold_bound(), []);
    }

    #[test]
    fn a_pod_is_not_proven_until_all_is_known_that_it_had_told() {
        let before = [(pod(1).uid, told(2)), (pod(2).uid, told(0))].into_iter().collect();
        let mut masks = PodMasks::new(Mode::Masked, before);
        masks.of(&pod(1)).add(["other-1".as_bytes(), b"other-2", b"value-0"]).unwrap();
        assert!(!masks.of(&pod(1)).is_proven(), "others count for nothing");
        assert!(masks.of(&pod(2)).is_proven() && masks.of(&pod(3)).is_proven());
        masks.of(&pod(1)).add([b"value-1".as_slice()]).unwrap();
        assert!(masks.of(&pod(1)).is_proven());
    }
}

//! When which runner's controller is asked. Pure: the time is handed in.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ephemon_base::Backoff;
use ephemon_model::PodUid;

use crate::api::Answer;
use crate::inventory::RunnerPod;

/// Times that a job that has begun is asked for: with the pauses, some 75 s. ARC's listener writes it
/// down when the service has reported it, seconds after the runner's log.
const MAX_TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// All runners that were or are to be asked for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pods: HashMap<PodUid, Asked>,
}

#[derive(Debug)]
struct Asked {
    has_begun: bool,
    /// When to ask next; `None` while there is nothing to ask.
    due: Option<Instant>,
    backoff: Backoff,
}

// === impl Plan ===

impl Plan {
    /// These are the pods of runners now.
    pub(super) fn look(&mut self, pods: &[RunnerPod], now: Instant) {
        let there: HashSet<&PodUid> = pods.iter().map(|one| &one.pod.uid).collect();
        self.pods.retain(|uid, _| there.contains(uid));
        for one in pods {
            let uid = &one.pod.uid;
            if one.is_named {
                self.pods.entry(uid.clone()).or_insert_with(|| Asked::new(None)).due = None;
                continue;
            }
            let asked = self.pods.entry(uid.clone()).or_insert_with(|| Asked::new(Some(now)));
            if one.has_begun && !std::mem::replace(&mut asked.has_begun, true) {
                asked.backoff.reset();
                asked.due = Some(now);
            }
        }
    }

    /// When the next one is to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pods.values().filter_map(|asked| asked.due).min()
    }

    /// One that is due.
    pub(super) fn next(&self, now: Instant) -> Option<PodUid> {
        let due = self.pods.iter().filter_map(|(uid, asked)| Some((asked.due?, uid)));
        due.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at).map(|(_, uid)| uid.clone())
    }

    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, pod: &PodUid, answer: &Answer, now: Instant, random: f64) {
        let Some(asked) = self.pods.get_mut(pod) else { return };
        let again = match answer {
            Answer::Job(_) | Answer::Missing | Answer::Refused(_) => false,
            // A runner that waits may do so for days.
            Answer::NoJob => asked.has_begun,
            Answer::Failed(_) => true,
        };
        let may = again && asked.backoff.failures() + 1 < MAX_TRIES;
        asked.due = may.then(|| now + asked.backoff.next_pause(random));
    }
}

// === impl Asked ===

impl Asked {
    fn new(due: Option<Instant>) -> Self {
        Self { has_begun: false, due, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ephemon_model::PodRef;

    use super::*;

    fn runner(has_begun: bool) -> RunnerPod {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod = Arc::new(PodRef { namespace: "ci".into(), name: "r".into(), uid });
        RunnerPod { pod, object: "r".into(), has_begun, is_named: false }
    }

    /// Asks while something is due; how often, and how long that took.
    fn asked(plan: &mut Plan, answer: &Answer, start: Instant) -> (u32, Duration) {
        let (mut times, mut now) = (0, start);
        while let Some(due) = plan.due() {
            now = now.max(due);
            let pod = plan.next(now).unwrap();
            plan.answered(&pod, answer, now, 1.0);
            times += 1;
            assert!(times < 100);
        }
        (times, now - start)
    }

    #[test]
    fn a_runner_that_waits_is_asked_for_once_and_again_when_its_job_begins() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.look(&[runner(false)], now);
        assert_eq!(asked(&mut plan, &Answer::NoJob, now).0, 1);
        plan.look(&[runner(false)], now);
        assert_eq!(plan.due(), None);
        plan.look(&[runner(true)], now);
        let (times, took) = asked(&mut plan, &Answer::NoJob, now);
        assert_eq!(times, MAX_TRIES);
        assert!((30..120).contains(&took.as_secs()), "{took:?}");
        plan.look(&[runner(true)], now);
        assert_eq!(plan.due(), None, "not for ever");
    }

    #[test]
    fn what_will_not_change_is_asked_for_once() {
        for answer in [Answer::Job(Arc::default()), Answer::Missing, Answer::Refused("no".into())] {
            let (mut plan, now) = (Plan::default(), Instant::now());
            plan.look(&[runner(true)], now);
            assert_eq!(asked(&mut plan, &answer, now).0, 1, "{answer:?}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_asked_again_though_not_for_ever() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.look(&[runner(false)], now);
        assert_eq!(asked(&mut plan, &Answer::Failed("away".into()), now).0, MAX_TRIES);
    }

    #[test]
    fn a_pod_that_is_gone_is_forgotten_and_one_that_is_named_is_not_asked_for() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.look(&[runner(true)], now);
        plan.look(&[RunnerPod { is_named: true, ..runner(true) }], now);
        assert_eq!(plan.due(), None);
        plan.look(&[], now);
        assert!(plan.pods.is_empty());
    }
}

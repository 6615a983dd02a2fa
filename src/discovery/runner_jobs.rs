//! Asks ARC for the job of each runner of this node: one `get` of the pod's owner when the pod
//! appears, and again when the runner's log says that a job begins. Nothing is listed or watched, and
//! nothing is asked while no pod is new and no job begins.
//!
//! The right to read these objects is optional. Without it jobs are named by the pod's labels and the
//! runner's log; that is logged once.

mod plan;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use ephemon_base::warning::Outage;
use ephemon_self_metrics::{SelfMetrics, Watched};
use tracing::{debug, info, warn};

use super::api::{Answer, RunnerObjects};
use super::inventory::{Evidence, Inventory};
use plan::Plan;

/// Changes that come together are looked at together.
const PAUSE: Duration = Duration::from_millis(50);

/// The state of the task.
struct RunnerJobs {
    objects: RunnerObjects,
    inventory: Inventory,
    self_metrics: SelfMetrics,
    plan: Plan,
    said: Outage<String>,
}

/// Asks until it is dropped.
pub async fn ask(
    objects: RunnerObjects,
    inventory: Inventory,
    self_metrics: SelfMetrics,
) -> Infallible {
    let (plan, said) = (Plan::default(), Outage::default());
    let mut jobs = RunnerJobs { objects, inventory, self_metrics, plan, said };
    loop {
        let due = jobs.plan.due();
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = jobs.inventory.runner_news() => tokio::time::sleep(PAUSE).await,
            () = timer => {}
        }
        jobs.turn().await;
    }
}

// === impl RunnerJobs ===

impl RunnerJobs {
    /// Asks for all that is due.
    async fn turn(&mut self) {
        let pods = self.inventory.runner_pods();
        self.plan.look(&pods, Instant::now());
        while let Some(pod) = self.plan.next(Instant::now()) {
            let Some(one) = pods.iter().find(|one| one.pod.uid == pod) else {
                self.plan.forget(&pod);
                continue;
            };
            let answer = self.objects.get(&one.pod.namespace, &one.object).await;
            self.plan.answered(&pod, &answer, Instant::now(), fastrand::f64());
            self.say(&one.pod.namespace, &answer);
            if let Answer::Job(job) = answer {
                self.inventory.learn(Evidence::Job { pod, job });
            }
        }
    }

    /// Counts an answer, and logs a failure once.
    fn say(&mut self, namespace: &str, answer: &Answer) {
        let sentence = match answer {
            Answer::Job(_) | Answer::NoJob | Answer::Missing => {
                self.self_metrics.watch_answers(Watched::EphemeralRunners);
                if self.said.end() {
                    info!("ARC's runners can be read again");
                }
                return;
            }
            Answer::Refused(why) => format!(
                "cannot get ephemeralrunners.actions.github.com in namespace {namespace}: 403, {why}; \
                 repository, workflow and run of ARC's jobs are known from labels only: grant the \
                 agent's account the rule apiGroups [\"actions.github.com\"], resources \
                 [ephemeralrunners], verbs [get]"
            ),
            Answer::Failed(why) => format!(
                "cannot get ephemeralrunners.actions.github.com: {why}; it is tried again for each job"
            ),
        };
        self.self_metrics.watch_failed(Watched::EphemeralRunners);
        // Why a request was refused names the object: that is no other reason.
        let reason = match answer {
            Answer::Refused(_) => "refused".to_owned(),
            _ => sentence.clone(),
        };
        if self.said.is_news(reason) {
            warn!("{sentence}");
        } else {
            debug!("{sentence}");
        }
    }
}

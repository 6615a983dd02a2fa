//! Asks ARC for the job of each runner of this node: one `get` of the pod's owner when the pod
//! appears, and again when the runner's log says that a job begins. Nothing is listed or watched, and
//! nothing is asked while no pod is new and no job begins.
//!
//! The right to read these objects is optional. Without it jobs are named by the pod's labels and the
//! runner's log; that is logged once.

mod plan;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
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
    /// Of the namespaces that are asked in: a right may be granted in some only.
    said: HashMap<Arc<str>, Outage<String>>,
}

/// Asks until it is dropped.
pub async fn ask(
    objects: RunnerObjects,
    inventory: Inventory,
    self_metrics: SelfMetrics,
) -> Infallible {
    let (plan, said) = (Plan::default(), HashMap::new());
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
    /// Asks for one that is due: what has come meanwhile is looked at before the next.
    async fn turn(&mut self) {
        let pods = self.inventory.runner_pods();
        self.plan.look(&pods, Instant::now());
        self.said.retain(|namespace, _| pods.iter().any(|one| one.pod.namespace == *namespace));
        let Some(pod) = self.plan.next(Instant::now()) else { return };
        let Some(one) = pods.iter().find(|one| one.pod.uid == pod) else {
            return self.plan.forget(&pod);
        };
        let answer = self.objects.get(&one.pod.namespace, &one.object).await;
        self.plan.answered(&pod, &answer, Instant::now(), fastrand::f64());
        self.say(&one.pod.namespace, &answer);
        if let Answer::Job(job) = answer {
            self.inventory.learn(Evidence::Job { pod, job });
        }
    }

    /// Counts an answer, and logs a failure once for each namespace.
    fn say(&mut self, namespace: &Arc<str>, answer: &Answer) {
        let said = self.said.entry(Arc::clone(namespace)).or_default();
        let sentence = match answer {
            Answer::Job(_) | Answer::NoJob | Answer::Missing => {
                if said.end() {
                    info!("ARC's runners in namespace {namespace} can be read again");
                }
                if !self.said.values().any(Outage::is_on) {
                    self.self_metrics.watch_answers(Watched::EphemeralRunners);
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
        if said.is_news(reason) {
            warn!("{sentence}");
        } else {
            debug!("{sentence}");
        }
    }
}

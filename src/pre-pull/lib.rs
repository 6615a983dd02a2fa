//! Pre-pull: has the runtime pull the images of ephemeral containers all at once (`--pre-pull`).
//!
//! The kubelet starts the ephemeral containers of a pod one after the other, and pulls the image of
//! each as it comes to it; by default it also pulls one image of the node at a time. So a job with
//! three services waits for the sum of four pulls. The agent asks the runtime for the images as soon
//! as the API server shows the containers; the kubelet then finds each on the node, or, with
//! `imagePullPolicy: Always`, has only its name to resolve. The images of the job's actions, for which
//! containers follow when the job is ready, the hook tells with the first of its containers.
//!
//! Nothing is pulled that who adds containers could not have the kubelet pull for the same pod, and
//! nothing with credentials. What fails here is left to the kubelet, which tries again and reports it.
//!
//! `plan` decides what is pulled and when; `pull` asks the runtime; `takers` know which container a pull
//! is told of.
//!
//! Source: kubernetes v1.36, `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`SyncPod`),
//! `pkg/kubelet/images/puller.go` (`serialImagePuller`, of which a node has one).

mod plan;
mod pull;
mod takers;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use ephemon_discovery::awaited_images::{AwaitedImages, Awaiting, ForKubelet};
use ephemon_discovery::feed::Feed;
use ephemon_model::{PodRef, PodUid, PrePull};
use ephemon_self_metrics::{Notices, PrePulled, Reason, SelfMetrics, Signal};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::Instrument as _;

pub use plan::PLAN_BYTES;
use plan::{Left, Plan, Start, Ticket};
use pull::{Outcome, Puller};

/// Most pulls that wait to be told of.
pub const MAX_TOLD: usize = 256;

/// What pre-pull works with.
#[derive(Debug)]
pub struct Parts {
    /// The runtime's socket.
    pub socket: PathBuf,
    /// Most pulls at one time; of one pod at most half of them, rounded up.
    pub most: usize,
    /// What containers wait for.
    pub awaited: AwaitedImages,
    /// Where pulls are told of. That one was is published as a change of its pod.
    pub told: SyncSender<(PodUid, PrePull)>,
    /// Changes of pods.
    pub feed: Feed,
    /// The agent's counters.
    pub self_metrics: SelfMetrics,
}

/// Pulls, until it is dropped.
pub async fn run(parts: Parts) -> Infallible {
    let plan = Plan::new(parts.most);
    let puller = Puller::new(&parts.socket);
    let (pulls, tickets, notices) = (JoinSet::new(), HashMap::new(), Notices::default());
    let mut pre_puller = PrePuller { parts, puller, plan, pulls, tickets, notices };
    loop {
        while let Some(start) = pre_puller.plan.next() {
            pre_puller.start(start);
        }
        tokio::select! {
            () = pre_puller.parts.awaited.news() => pre_puller.changed(),
            Some(done) = pre_puller.pulls.join_next_with_id() => pre_puller.done(done),
        }
    }
}

struct PrePuller {
    parts: Parts,
    puller: Puller,
    plan: Plan,
    pulls: JoinSet<(Outcome, Duration)>,
    tickets: HashMap<Id, Pull>,
    /// Which pods were already mentioned in the log.
    notices: Notices,
}

/// A pull under way.
struct Pull {
    ticket: Ticket,
    pod: Arc<PodRef>,
    image: Arc<str>,
    began: Instant,
    handle: AbortHandle,
}

// === impl PrePuller ===

impl PrePuller {
    fn start(&mut self, start: Start) {
        let Start { ticket, pod, image } = start;
        let span = tracing::info_span!(
            "pre-pull image", k8s.pod.name = %pod.name, container.image.name = %image.name
        );
        let name = Arc::clone(&image.name);
        let puller = self.puller.clone();
        let began = Instant::now();
        let pull = async move {
            let outcome = puller.pull(&image).await;
            (outcome, began.elapsed())
        };
        let handle = self.pulls.spawn(pull.instrument(span));
        let pull = Pull { ticket, pod, image: name, began, handle };
        self.tickets.insert(pull.handle.id(), pull);
    }

    /// Takes in what has changed of pods.
    fn changed(&mut self) {
        let (changes, refused) = self.parts.awaited.take();
        self.count(PrePulled::Cap, refused);
        for change in changes {
            let cancelled = match change {
                Awaiting::Pod(pod) => {
                    let update = self.plan.update(&pod);
                    for left in update.left {
                        self.count(result_of(left), 1);
                    }
                    for pull in update.told {
                        self.tell(&pod.pod.uid, pull);
                    }
                    update.cancelled
                }
                Awaiting::Gone(uid) => self.plan.gone(&uid),
            };
            for pull in self.tickets.values().filter(|pull| cancelled.contains(&pull.ticket)) {
                pull.handle.abort();
            }
        }
    }

    /// A pull is over, or was cancelled.
    fn done(&mut self, done: Result<(Id, (Outcome, Duration)), JoinError>) {
        let (id, outcome) = match done {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => (error.id(), None),
        };
        let Some(pull) = self.tickets.remove(&id) else { return };
        let (outcome, took) = outcome.unwrap_or((Outcome::Cancelled, pull.began.elapsed()));
        self.parts.self_metrics.pre_pulled(outcome.result(), 1, took);
        let told = match &outcome {
            Outcome::Pulled(pulled) => self.plan.pulled(&pull.ticket, *pulled),
            _ => None,
        };
        self.plan.done(&pull.ticket);
        if let Some(told) = told {
            self.tell(&pull.pod.uid, told);
        }
        if let Outcome::Failed(why) = outcome {
            self.say(&pull.pod, &pull.image, &why);
        }
    }

    fn tell(&self, pod: &PodUid, pull: PrePull) {
        let Parts { told, feed, self_metrics, .. } = &self.parts;
        match told.try_send((pod.clone(), pull)) {
            Ok(()) => feed.publish(pod),
            Err(_) => self_metrics.dropped(Signal::Events, Reason::Cap),
        }
    }

    /// Without the runtime's message, which may have a signed URL in it: the kubelet's event says what
    /// is wrong, to those who may read it.
    fn say(&mut self, pod: &PodRef, image: &str, why: &str) {
        if let Some(unsaid) = self.notices.admit(&pod.uid, Instant::now()) {
            tracing::info!(
                namespace = %pod.namespace, pod = %pod.name, image, why, unsaid,
                "an image could not be pulled ahead; the kubelet pulls it, and reports it if it cannot"
            );
        }
    }

    fn count(&self, result: PrePulled, images: u64) {
        self.parts.self_metrics.pre_pulled(result, images, Duration::ZERO);
    }
}

fn result_of(left: Left) -> PrePulled {
    match left {
        Left::ForKubelet(ForKubelet::PullSecrets) => PrePulled::PullSecrets,
        Left::ForKubelet(ForKubelet::RuntimeClass) => PrePulled::RuntimeClass,
        Left::ForKubelet(ForKubelet::Name) => PrePulled::Name,
        Left::TooMany => PrePulled::Cap,
    }
}

#[cfg(test)]
mod tests;

//! Which runner a pod belongs to, and what is known of the runner's job.

use std::sync::Arc;
use std::time::Instant;

use ephemon_model::{JobEnv, PodRef, PodUid};

use super::facts::Pod;
use super::state::State;
use super::teller::may_be_runner;
use super::watched::Standing;
use crate::pod_view::{Origin, Purpose, WorkflowPod};

/// Memory of one pod's origin and job, in bytes: a dozen texts of at most 256 letters.
pub const ORIGIN_BYTES: usize = 16 * 1024;

/// What is known of the GitHub runner that a pod belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunnerFacts {
    /// The runner's job, as far as its controller or the pod's labels say.
    pub job: Option<Arc<JobEnv>>,
    /// Whether the runner calls a hook that may be ours.
    pub has_own_hook: bool,
    /// What the runner has created the pod for, if it has.
    pub purpose: Option<Purpose>,
    /// The runner's own pod, if that is another one of this node.
    pub pod: Option<PodUid>,
}

/// A pod whose runner's controller may know the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerPod {
    /// The pod.
    pub pod: Arc<PodRef>,
    /// The controller's object in the pod's namespace.
    pub object: Arc<str>,
    /// Whether something says that the runner has a job.
    pub has_begun: bool,
    /// Whether the controller has named it.
    pub is_named: bool,
}

// === impl State ===

impl State {
    pub(super) fn learn_origin(&mut self, uid: &PodUid, origin: Arc<Origin>, now: Instant) -> bool {
        let pod = self.pod_mut(uid, now);
        if pod.origin.as_ref() == Some(&origin) {
            return false;
        }
        pod.origin = Some(origin);
        self.touch_all_of(uid);
        true
    }

    pub(super) fn learn_job(&mut self, uid: &PodUid, job: Arc<JobEnv>) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        // Who says something first has said it.
        let merged = match &pod.job {
            Some(known) => Arc::new(JobEnv::clone(known).or(&job)),
            None => job,
        };
        if pod.job.as_ref() != Some(&merged) {
            pod.job = Some(merged);
            self.touch_all_of(uid);
        }
    }

    /// The first message counts.
    pub(super) fn learn_message(&mut self, uid: &PodUid, job: Arc<JobEnv>) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if pod.message.is_none() {
            pod.message = Some(job);
            self.touch_all_of(uid);
        }
    }

    /// The runner of this pod has said that it has a job; whether that is news.
    pub(super) fn job_began(&mut self, uid: &PodUid) -> bool {
        let pod = self.pods.get_mut(uid);
        pod.is_some_and(|pod| !std::mem::replace(&mut pod.has_begun, true))
    }

    /// The pods whose controllers may be asked for jobs.
    pub(super) fn runner_pods(&self) -> Vec<RunnerPod> {
        let object = |pod: &Pod| {
            let origin = pod.origin.as_ref()?;
            let own = origin.ephemeral_runner.clone();
            // One of a runner on another node: nobody else here asks for it.
            let of_other = || {
                let workflow = origin.workflow.as_ref().filter(|it| !it.is_cut)?;
                let is_here = self.runner_of(pod, workflow).is_some();
                (!is_here).then(|| workflow.runner.clone())
            };
            own.or_else(of_other)
        };
        let pods = self.pods.values().filter(|pod| pod.standing == Standing::Listed);
        let pods = pods.filter_map(|pod| {
            let (named, object) = (pod.refs.values().next()?, object(pod)?);
            // A runner creates pods for its job and for nothing else.
            let is_created = pod.origin.as_ref().is_some_and(|origin| origin.workflow.is_some());
            let has_begun = pod.has_begun || is_created || self.has_created(named);
            let is_named = pod.job.is_some();
            Some(RunnerPod { pod: Arc::clone(named), object, has_begun, is_named })
        });
        pods.collect()
    }

    pub(super) fn runner_facts(&self, uid: &PodUid) -> RunnerFacts {
        let Some(pod) = self.pods.get(uid) else { return RunnerFacts::default() };
        let Some(origin) = &pod.origin else {
            return RunnerFacts { job: told(pod), ..RunnerFacts::default() };
        };
        let workflow = origin.workflow.as_ref();
        let runner = workflow.and_then(|workflow| self.runner_of(pod, workflow));
        let runner_pod = runner.as_ref().and_then(|(uid, _)| self.pods.get(*uid));
        RunnerFacts {
            job: job(pod, origin, runner_pod),
            has_own_hook: origin.has_own_hook,
            purpose: workflow.map(|workflow| workflow.purpose),
            pod: runner.map(|(uid, _)| uid.clone()),
        }
    }

    /// The newest pod of this node that a workflow pod's runner is, by name. By the beginning of a name it
    /// is none where several begin so: they may be runners of other jobs.
    fn runner_of(&self, pod: &Pod, workflow: &WorkflowPod) -> Option<(&PodUid, &Arc<PodRef>)> {
        let namespace = &pod.refs.values().next()?.namespace;
        let is_selected =
            |pod: &Pod| matches!(pod.standing, Standing::Listed | Standing::Deleted { .. });
        let is_workflow =
            |pod: &Pod| pod.origin.as_ref().is_some_and(|origin| origin.workflow.is_some());
        let runners = self.pods.iter().filter_map(|(uid, pod)| {
            let named = pod.refs.values().next()?;
            let is_runner =
                is_selected(pod) && !is_workflow(pod) && workflow.is_of(namespace, named);
            is_runner.then_some(((pod.standing == Standing::Listed, pod.seq), uid, named))
        });
        let mut count: usize = 0;
        let newest = runners.inspect(|_| count += 1).max_by_key(|(rank, ..)| *rank);
        let is_one = count == 1 || !workflow.is_cut;
        newest.filter(|_| is_one).map(|(_, uid, named)| (uid, named))
    }

    /// Whether there is a pod that this runner has created.
    fn has_created(&self, runner: &PodRef) -> bool {
        self.pods.values().any(|pod| is_of(pod, runner))
    }

    /// The pod has changed, and with it those that its runner has created.
    fn touch_all_of(&mut self, uid: &PodUid) {
        let named = self.pods.get(uid).and_then(|pod| pod.refs.values().next());
        let created = self.pods.iter().filter(|(_, pod)| named.is_some_and(|it| is_of(pod, it)));
        let touched: Vec<PodUid> = created.map(|(uid, _)| uid.clone()).collect();
        self.touch(uid);
        for uid in &touched {
            self.touch(uid);
        }
    }
}

/// Whether this runner has created the pod.
fn is_of(pod: &Pod, runner: &PodRef) -> bool {
    let workflow = pod.origin.as_ref().and_then(|origin| origin.workflow.as_ref());
    let namespace = pod.refs.values().next().map(|pod| &pod.namespace);
    let both = workflow.zip(namespace);
    both.is_some_and(|(workflow, namespace)| workflow.is_of(namespace, runner))
}

/// The controller's word on a pod's job, and what the message in the runner's log adds to it. A message of
/// another run is not the service's: nothing of it counts.
fn told(pod: &Pod) -> Option<Arc<JobEnv>> {
    let message = pod.message.as_ref().filter(|_| may_be_runner(pod));
    let (Some(job), Some(message)) = (&pod.job, message) else {
        return pod.job.as_ref().or(message).cloned();
    };
    let differs = |own: &Option<Arc<str>>, other: &Option<Arc<str>>| {
        let both = own.as_ref().zip(other.as_ref());
        both.is_some_and(|(own, other)| !own.eq_ignore_ascii_case(other))
    };
    if differs(&job.run_id, &message.run_id) || differs(&job.repository, &message.repository) {
        return Some(Arc::clone(job));
    }
    Some(Arc::new(JobEnv::clone(job).or(message)))
}

/// The controller's word on the job and the message's, then the labels'.
fn job(pod: &Pod, origin: &Origin, runner: Option<&Pod>) -> Option<Arc<JobEnv>> {
    let told = told(pod).or_else(|| told(runner?));
    let of_runner = runner.and_then(|pod| pod.origin.as_ref());
    let labels = origin.labels.as_ref().or_else(|| of_runner?.labels.as_ref());
    let workflow = origin.workflow.as_ref().filter(|workflow| !workflow.is_cut);
    let name = origin
        .ephemeral_runner
        .clone()
        .or_else(|| of_runner?.ephemeral_runner.clone())
        .or_else(|| workflow.map(|workflow| workflow.runner.clone()));
    let known = told.as_ref().or(labels).map(|job| JobEnv::clone(job));
    let mut job = known.or_else(|| name.as_ref().map(|_| JobEnv::default()))?;
    job.repository = job.repository.or_else(|| labels?.repository.clone());
    job.runner = job.runner.or(name);
    Some(Arc::new(job))
}

#[cfg(test)]
mod tests {
    use ephemon_model::{CiJob, ContainerType};

    use super::super::teller::Teller;
    use super::*;
    use crate::inventory::{Evidence, EvidenceSource, SpecEntry};

    fn uid(n: u32) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{n:012}")).unwrap()
    }

    fn add(state: &mut State, n: u32, name: &str, origin: Origin) {
        let now = Instant::now();
        let pod = PodRef { namespace: "ci".into(), name: name.into(), uid: uid(n) };
        state.learn(Evidence::Pod { pod, by: EvidenceSource::Api }, now);
        state.listed(&uid(n), now);
        state.learn(Evidence::Origin { pod: uid(n), origin: Arc::new(origin) }, now);
    }

    fn runner() -> Origin {
        Origin { ephemeral_runner: Some("r".into()), ..Origin::default() }
    }

    fn workflow_pod(purpose: Purpose) -> Origin {
        let workflow = WorkflowPod { runner: "r".into(), is_cut: false, purpose };
        Origin { workflow: Some(workflow), ..Origin::default() }
    }

    fn named(name: &str) -> Arc<JobEnv> {
        Arc::new(JobEnv { repository: Some(name.into()), ..JobEnv::default() })
    }

    #[test]
    fn pods_of_a_runner_have_its_job_and_change_with_it() {
        let mut state = State::default();
        add(&mut state, 1, "r-workflow", workflow_pod(Purpose::Job));
        assert_eq!(state.runner_facts(&uid(1)).pod, None);
        add(&mut state, 2, "r", runner());
        let facts = state.runner_facts(&uid(1));
        assert_eq!((facts.pod, facts.purpose), (Some(uid(2)), Some(Purpose::Job)));
        assert_eq!(facts.job.unwrap().runner.as_deref(), Some("r"));
        drop(state.take_touched());
        state.learn(Evidence::Job { pod: uid(2), job: named("o/r") }, Instant::now());
        let touched = format!("{:?}", state.take_touched());
        assert!(touched.contains(uid(1).as_str()) && touched.contains(uid(2).as_str()));
        for n in [1, 2] {
            let job = state.runner_facts(&uid(n)).job.unwrap();
            assert_eq!(
                (job.repository.as_deref(), job.runner.as_deref()),
                (Some("o/r"), Some("r"))
            );
        }
        assert_eq!(state.runner_facts(&uid(2)).pod, None);
    }

    #[test]
    fn the_controller_is_asked_for_runners_and_for_pods_whose_runner_is_elsewhere() {
        let mut state = State::default();
        add(&mut state, 1, "r", runner());
        let asked = |state: &State| {
            let mut pods: Vec<_> = state
                .runner_pods()
                .into_iter()
                .map(|it| {
                    (it.pod.name.to_string(), it.object.to_string(), it.has_begun, it.is_named)
                })
                .collect();
            pods.sort();
            pods
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(asked(&state), [(text("r"), text("r"), false, false)]);
        add(&mut state, 2, "r-workflow", workflow_pod(Purpose::Job));
        assert_eq!(asked(&state), [(text("r"), text("r"), true, false)], "it creates pods");
        assert!(state.job_began(&uid(1)) && !state.job_began(&uid(1)));
        state.learn(Evidence::Job { pod: uid(1), job: named("o/r") }, Instant::now());
        assert_eq!(asked(&state), [(text("r"), text("r"), true, true)]);
        state.unlisted(&uid(1), Instant::now());
        state.forget_pod(&uid(1));
        assert_eq!(asked(&state), [(text("r-workflow"), text("r"), true, false)]);
        add(&mut state, 3, "web", Origin::default());
        assert_eq!(asked(&state).len(), 1);
    }

    #[test]
    fn the_controllers_word_goes_before_the_logs_message() {
        let run = |run: &str, attempt: Option<&str>| {
            let text = |text: &str| Some(Arc::from(text));
            let run_attempt = attempt.map(Arc::from);
            Arc::new(JobEnv { run_id: text(run), run_attempt, ..JobEnv::default() })
        };
        for (by_controller, attempt) in [("71", Some("2")), ("72", None)] {
            let mut state = State::default();
            add(&mut state, 1, "r", runner());
            let message = |job| Evidence::Message { pod: uid(1), job };
            state.learn(message(run("71", Some("2"))), Instant::now());
            state.learn(message(run("73", Some("9"))), Instant::now());
            let job = state.runner_facts(&uid(1)).job.unwrap();
            assert_eq!(
                (job.run_id.as_deref(), job.run_attempt.as_deref()),
                (Some("71"), Some("2"))
            );
            assert!(!state.runner_pods()[0].is_named, "the controller is asked all the same");
            state.learn(
                Evidence::Job { pod: uid(1), job: run(by_controller, None) },
                Instant::now(),
            );
            let job = state.runner_facts(&uid(1)).job.unwrap();
            assert_eq!(
                (job.run_id.as_deref(), job.run_attempt.as_deref()),
                (Some(by_controller), attempt)
            );
        }
    }

    #[test]
    fn a_pod_that_is_anothers_is_no_runner_whatever_its_log_says() {
        let mut state = State::default();
        assert_eq!(state.teller(&uid(1)), Teller::Runner, "nothing is known of it");
        add(&mut state, 1, "r", runner());
        add(&mut state, 2, "x-workflow", workflow_pod(Purpose::Job));
        add(&mut state, 3, "gitlab", Origin::default());
        add(&mut state, 4, "mapped", Origin::default());
        add(&mut state, 5, "plain", Origin::default());
        for (n, system) in [(3, "gitlab"), (4, "ours")] {
            let ci = Some(Arc::new(CiJob { system: system.into(), ..CiJob::default() }));
            let entry = SpecEntry {
                name: "runner".into(),
                container_type: ContainerType::Container,
                image: None,
                limits: None,
                wants_init: false,
                job: Some(Arc::new(JobEnv { ci, ..JobEnv::default() })),
            };
            state.learn(Evidence::Spec { pod: uid(n), entries: vec![entry] }, Instant::now());
        }
        for (n, teller) in [
            (2, Teller::Nobody),
            (3, Teller::Gitlab),
            (4, Teller::Runner),
            (5, Teller::Runner),
            (1, Teller::Runner),
        ] {
            assert_eq!(state.teller(&uid(n)), teller, "{n}");
            let expected = teller == Teller::Runner;
            state.learn(Evidence::Message { pod: uid(n), job: named("o/said") }, Instant::now());
            let job = state.runner_facts(&uid(n)).job;
            let repository = job.as_ref().and_then(|job| job.repository.as_deref());
            assert_eq!(repository.is_some(), expected, "{n}");
        }
    }

    #[test]
    fn by_the_beginning_of_a_name_a_pod_joins_the_one_runner_that_has_it() {
        let mut state = State::default();
        let workflow =
            WorkflowPod { runner: "r".into(), is_cut: true, purpose: Purpose::OwnProgram };
        add(&mut state, 1, "r-step", Origin { workflow: Some(workflow), ..Origin::default() });
        add(&mut state, 2, "r1", runner());
        assert_eq!(state.runner_facts(&uid(1)).pod, Some(uid(2)));
        add(&mut state, 3, "r2", runner());
        assert_eq!(state.runner_facts(&uid(1)).pod, None);
    }

    #[test]
    fn labels_name_the_repository_until_the_controller_does() {
        let mut state = State::default();
        add(&mut state, 1, "r", Origin { labels: Some(named("o/labelled")), ..runner() });
        let repository =
            |state: &State| state.runner_facts(&uid(1)).job.unwrap().repository.clone().unwrap();
        assert_eq!(&*repository(&state), "o/labelled");
        state.learn(Evidence::Job { pod: uid(1), job: named("o/told") }, Instant::now());
        state.learn(Evidence::Job { pod: uid(1), job: named("o/forged") }, Instant::now());
        assert_eq!(&*repository(&state), "o/told");
    }
}

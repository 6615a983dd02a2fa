//! Answers in windows, answers about strangers, hostile labels.

use super::*;

fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Sample { labels, value }
}

fn add(to: &mut Gathering, question: Question, samples: Vec<Sample>) {
    let names = ["namespace", "pod", "container"].map(str::to_owned);
    to.add(&Labels::of(&names)[0], question, samples);
}

fn of(pod: &str) -> [(&str, &str); 2] {
    [("namespace", "ci"), ("pod", pod)]
}

fn job(gathering: &mut Gathering, pod: &str, repository: &str) {
    let labels =
        [of(pod).as_slice(), &[("repository", repository), ("organization", "o")]].concat();
    add(gathering, Question::Jobs, vec![sample(&labels, 1.0)]);
}

#[test]
fn answers_of_two_windows_become_one_job() {
    let mut all = Gathering::default();
    let pod = "set-abcde-runner-12345";
    job(&mut all, pod, "");
    job(&mut all, pod, "r");
    let typed = |kind| [of(pod).as_slice(), &[("container_type", kind)]].concat();
    add(
        &mut all,
        Question::Starts,
        vec![sample(&typed("ephemeral"), 100.0), sample(&typed("container"), 50.0)],
    );
    add(&mut all, Question::Cpu, vec![sample(&of(pod), 5.0)]);
    assert_eq!((all.jobs().len(), all.left_out().unknown), (0, 1), "it has not ended");
    add(&mut all, Question::Starts, vec![sample(&typed("ephemeral"), 110.0)]);
    add(&mut all, Question::Cpu, vec![sample(&of(pod), 20.0)]);
    add(
        &mut all,
        Question::Ends,
        vec![sample(&typed("ephemeral"), 140.0), sample(&typed("container"), 150.0)],
    );
    add(&mut all, Question::Results, vec![sample(&of(pod), 1.0)]);
    for (question, value) in [
        (Question::WorkingSet, 7.0),
        (Question::Peak, 9.0),
        (Question::OomKills, 1.0),
        (Question::Throttled, 0.5),
        (Question::MemoryLimit, 64.0),
    ] {
        add(&mut all, question, vec![sample(&of(pod), value), sample(&of("stranger"), 1e9)]);
    }
    add(&mut all, Question::Samples, vec![sample(&typed("ephemeral"), 3.0)]);
    let resource = |what| [of(pod).as_slice(), &[("resource", what)]].concat();
    add(&mut all, Question::KubeRequests, vec![sample(&resource("cpu"), 2.0)]);
    let limits = [("cpu", 3.0), ("memory", 1.0)];
    add(
        &mut all,
        Question::KubeLimits,
        limits.map(|(what, it)| sample(&resource(what), it)).to_vec(),
    );
    let jobs = all.jobs();
    assert_eq!(all.left_out(), LeftOut::default());
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((job.kind.repository.as_str(), job.scale_set.as_deref()), ("o/r", Some("set")));
    assert_eq!((job.start, job.seconds, job.cpu_cores()), (100.0, Some(40.0), Some(0.5)));
    assert_eq!((job.memory_bytes, job.memory_peak_bytes), (Some(7.0), Some(9.0)));
    assert_eq!((job.oom_kills, job.throttled), (Some(1.0), None), "a pod's quota is not counted");
    assert_eq!(job.request.cpu_cores, Some(2.0));
    let limit = Resources { cpu_cores: Some(3.0), memory_bytes: Some(64.0) };
    assert_eq!(job.limit, limit, "the kernel's word comes first");
}

#[test]
fn a_job_that_few_scrapes_found_running_has_the_kernels_peak() {
    // Samples by type, working set, peak: memory.
    for (kind, samples, working_set, peak, expected) in [
        ("ephemeral", 0.0, None, Some(9.0), Some(9.0)),
        ("ephemeral", 2.0, Some(1.0), Some(9.0), Some(9.0)),
        ("ephemeral", 2.0, Some(12.0), Some(9.0), Some(12.0)),
        ("ephemeral", 3.0, Some(1.0), Some(9.0), Some(1.0)),
        // It may have been waiting all that time.
        ("container", 500.0, Some(1.0), Some(9.0), Some(9.0)),
        ("container", 500.0, None, None, None),
    ] {
        let mut all = Gathering::default();
        over(&mut all, "p", kind);
        let typed = [of("p").as_slice(), &[("container_type", kind)]].concat();
        add(&mut all, Question::Samples, vec![sample(&typed, samples)]);
        for (question, value) in [(Question::WorkingSet, working_set), (Question::Peak, peak)] {
            let sample = value.map(|value| sample(&of("p"), value));
            add(&mut all, question, sample.into_iter().collect());
        }
        assert_eq!(all.jobs()[0].memory_bytes, expected, "{kind} {samples}");
    }
}

/// A job that ran for a second of CPU time in a container of this type.
fn over(all: &mut Gathering, pod: &str, kind: &str) {
    job(all, pod, "r");
    let typed = [of(pod).as_slice(), &[("container_type", kind)]].concat();
    add(all, Question::Starts, vec![sample(&typed, 1.0)]);
    add(all, Question::Ends, vec![sample(&typed, 3.0)]);
    add(all, Question::Results, vec![sample(&of(pod), 1.0)]);
    add(all, Question::Cpu, vec![sample(&of(pod), 1.0)]);
    add(all, Question::Throttled, vec![sample(&of(pod), 0.5)]);
}

#[test]
fn where_a_runner_waits_for_its_job_nobody_knows_how_many_cpus_it_used() {
    for (kind, cores, throttled) in [("ephemeral", Some(0.5), None), ("container", None, Some(0.5))]
    {
        let mut all = Gathering::default();
        over(&mut all, "p", kind);
        let job = &all.jobs()[0];
        assert_eq!((job.cpu_cores(), job.throttled), (cores, throttled), "{kind}");
        assert_eq!((job.oom_kills, job.seconds.is_some()), (None, cores.is_some()), "{kind}");
    }
}

#[test]
fn a_job_whose_steps_ran_in_other_pods_is_in_no_row() {
    let long = "x".repeat(60);
    let cut = format!("{}-workflow", "x".repeat(54));
    for (runner, other, left_out) in [
        ("r", "r-workflow", 1),
        ("r", "r-step-0a1b2c3d", 1),
        ("r", "r-step-0a1b2c3d-abcde", 1),
        ("r", "q-workflow", 0),
        ("r2", "r-workflow", 0),
        (long.as_str(), cut.as_str(), 1),
    ] {
        let mut all = Gathering::default();
        over(&mut all, runner, "container");
        add(&mut all, Question::Elsewhere, vec![sample(&of(other), 1.0)]);
        let found = (all.jobs().len(), all.left_out());
        let expected = LeftOut { unknown: 0, elsewhere: left_out };
        assert_eq!(found, (usize::from(left_out == 0), expected), "{runner} {other}");
    }
    let mut all = Gathering::default();
    over(&mut all, "r-workflow", "container");
    assert_eq!(all.left_out().elsewhere, 1, "as an agent on another node names it");
}

#[test]
fn what_has_no_pod_is_not_one_large_job() {
    let mut all = Gathering::default();
    over(&mut all, "", "ephemeral");
    assert_eq!((all.jobs().len(), all.left_out().unknown), (0, 1));
}

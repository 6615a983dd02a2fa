//! Answers in windows, answers about strangers, hostile labels.

use super::*;

fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Sample { labels, value }
}

fn gathering() -> Gathering {
    let names = ["namespace", "pod", "container"].map(str::to_owned);
    Gathering::new(Labels::of(&names).unwrap())
}

fn of(pod: &str) -> [(&str, &str); 2] {
    [("namespace", "ci"), ("pod", pod)]
}

fn job(gathering: &mut Gathering, pod: &str, repository: &str) {
    let labels =
        [of(pod).as_slice(), &[("repository", repository), ("organization", "o")]].concat();
    gathering.add(Question::Jobs, vec![sample(&labels, 1.0)]);
}

#[test]
fn answers_of_two_windows_become_one_job() {
    let mut all = gathering();
    let pod = "set-abcde-runner-12345";
    job(&mut all, pod, "");
    job(&mut all, pod, "r");
    let typed = |kind| [of(pod).as_slice(), &[("container_type", kind)]].concat();
    all.add(
        Question::Starts,
        vec![sample(&typed("ephemeral"), 100.0), sample(&typed("container"), 50.0)],
    );
    all.add(Question::Cpu, vec![sample(&of(pod), 5.0)]);
    assert_eq!((all.jobs().len(), all.left_out()), (0, 1), "it has not ended");
    all.add(Question::Starts, vec![sample(&typed("ephemeral"), 110.0)]);
    all.add(Question::Cpu, vec![sample(&of(pod), 20.0)]);
    all.add(
        Question::Ends,
        vec![sample(&typed("ephemeral"), 140.0), sample(&typed("container"), 150.0)],
    );
    all.add(Question::Results, vec![sample(&of(pod), 1.0)]);
    for (question, value) in [
        (Question::WorkingSet, 7.0),
        (Question::Peak, 9.0),
        (Question::OomKills, 1.0),
        (Question::Throttled, 0.5),
        (Question::MemoryLimit, 64.0),
    ] {
        all.add(question, vec![sample(&of(pod), value), sample(&of("stranger"), 1e9)]);
    }
    let resource = |what| [of(pod).as_slice(), &[("resource", what)]].concat();
    all.add(Question::KubeRequests, vec![sample(&resource("cpu"), 2.0)]);
    let limits = [("cpu", 3.0), ("memory", 1.0)];
    all.add(Question::KubeLimits, limits.map(|(what, it)| sample(&resource(what), it)).to_vec());
    let jobs = all.jobs();
    assert_eq!(all.left_out(), 0);
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((job.kind.repository.as_str(), job.scale_set.as_deref()), ("o/r", Some("set")));
    assert_eq!((job.start, job.seconds, job.cpu_cores()), (100.0, 40.0, Some(0.5)));
    assert_eq!((job.memory_bytes, job.memory_peak_bytes), (Some(7.0), Some(9.0)));
    assert_eq!(job.request.cpu_cores, Some(2.0));
    let limit = Resources { cpu_cores: Some(3.0), memory_bytes: Some(64.0) };
    assert_eq!(job.limit, limit, "the kernel's word comes first");
}

#[test]
fn a_job_that_no_scrape_found_running_has_the_kernels_peak() {
    let mut all = gathering();
    job(&mut all, "p", "r");
    all.add(Question::Starts, vec![sample(&of("p"), 1.0)]);
    all.add(Question::Ends, vec![sample(&of("p"), 2.0)]);
    all.add(Question::Results, vec![sample(&of("p"), 1.0)]);
    all.add(Question::Cpu, vec![sample(&of("p"), 1.0)]);
    all.add(Question::Peak, vec![sample(&of("p"), 9.0)]);
    assert_eq!(all.jobs()[0].memory_bytes, Some(9.0));
}

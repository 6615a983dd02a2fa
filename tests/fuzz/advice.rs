//! What Prometheus answers, and what an agent has counted: by people's own servers, with names that
//! jobs' authors chose.

use ephemon_advice::{
    Advice, Counts, Gathering, Labels, Question, Rule, Source, Usage, label_names, markdown, table,
    vector,
};

/// An answer of Prometheus where `data` begins with a brace; otherwise an agent's page.
pub(super) fn advice(data: &[u8]) {
    if data.first() != Some(&b'{') {
        let mut counts = Counts::default();
        if counts.add(data).is_ok() {
            let (usages, left_out) = counts.usages(&[]);
            check(&Advice::new(Source::Agents, usages, left_out, Rule { min_jobs: 1 }, None));
        }
        return;
    }
    label_names(data).ok();
    let Ok(samples) = vector(data) else { return };
    assert!(samples.iter().all(|sample| sample.value.is_finite()));
    let names = ["namespace", "pod", "container", "exported_pod"].map(str::to_owned);
    let mut gathering = Gathering::default();
    for labels in Labels::of(&names) {
        for question in Question::ALL {
            gathering.add(&labels, question, samples.clone());
        }
    }
    let (usages, left_out) = (Usage::by_kind(&gathering.jobs()), gathering.left_out());
    check(&Advice::new(Source::Prometheus, usages, left_out, Rule { min_jobs: 1 }, None));
}

fn check(advice: &Advice) {
    for text in [table(advice), markdown(advice)] {
        assert!(!text.contains('\u{1b}'), "a name changes the terminal");
    }
    for set in &advice.scale_sets {
        let (request, limit) = (set.request, set.limit);
        for (request, limit) in
            [(request.cpu_cores, limit.cpu_cores), (request.memory_bytes, limit.memory_bytes)]
        {
            let is_above = request.zip(limit).is_some_and(|(request, limit)| request > limit);
            assert!(!is_above, "a request above its limit");
        }
    }
}

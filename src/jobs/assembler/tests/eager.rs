//! What goes ahead is what the whole trace would have of it.

use super::*;
use crate::{Container, Job, Phase, Step};

/// The parts of a job whose spans these are.
fn parts(job: &Job, which: &Which) -> (Vec<Phase>, Vec<Step>, Vec<Container>) {
    let phases = job.phases.iter().filter(|one| which.has(one.span_id)).cloned();
    let steps = job.steps.iter().filter(|one| which.has(one.span_id)).cloned();
    let containers = job.containers.iter().filter(|one| which.has(one.span_id)).cloned();
    (phases.collect(), steps.collect(), containers.collect())
}

#[test]
fn what_is_sent_eagerly_is_what_would_be_sent_at_the_end() {
    let mut killed = Story::whole();
    killed.kill("job", 1, Some("__run_2"));
    let mut cancelled = Story::whole();
    cancelled.cancel("__run_2");
    let mut oom = Story::whole();
    oom.end("runner", 50, 137, "OOMKilled");
    for (number, story) in
        [Story::whole(), killed, cancelled, oom, Story::at_once(), Story::debugged()]
            .into_iter()
            .enumerate()
    {
        let options = Options { mode: TraceMode::Eager, ..Options::default() };
        let mut assembler = Assembler::new(options, Memory::default());
        let all = follow(&mut assembler, &story, 1..90);
        let last = &all.last().expect("a job").job;
        let ahead = &all[..all.len() - 1];
        assert!(!ahead.is_empty(), "story {number}");
        for dispatch in ahead {
            assert!(!dispatch.which.has(dispatch.job.span.span_id));
            assert_eq!(
                parts(&dispatch.job, &dispatch.which),
                parts(last, &dispatch.which),
                "story {number}"
            );
        }
    }
}

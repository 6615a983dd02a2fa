//! The pod of another CI system over time: it is a job from its first container on, and is sent when its
//! containers are over.

use std::sync::Arc;

use ephemon_model::{CiJob, ContainerType, JobEnv};

use super::*;
use crate::JobResult;

const WITH_SPECS: Options = Options { mode: TraceMode::Whole, has_specs: true };

fn story() -> Story {
    let mut story = Story::new();
    let rows = [
        ("prepare", ContainerType::Init, "system", (1, 2)),
        ("step-a", ContainerType::Container, "step", (3, 10)),
        ("step-b", ContainerType::Container, "step", (3, 20)),
    ];
    for (name, container_type, part, times) in rows {
        story.container(name, container_type, None, times, 0, 500);
        let ci = CiJob { system: "tekton".into(), ..CiJob::default() };
        let job = JobEnv {
            role: Some(part.into()),
            name: Some("compile".into()),
            ci: Some(Arc::new(ci)),
            ..JobEnv::default()
        };
        for piece in &mut story.pieces {
            if let Evidence::Spec(entry) = piece
                && &*entry.name == name
            {
                entry.job = Some(Arc::new(job.clone()));
            }
        }
    }
    story
}

#[test]
fn it_is_one_job_that_begins_with_the_pod_and_is_sent_once() {
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    let all = follow(&mut assembler, &story(), 1..60);
    let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
    assert!(only.last);
    assert_eq!(
        (only.job.identity.name(), only.job.outcome.result),
        ("compile", JobResult::Success)
    );
    assert_eq!((only.job.window.start.ns, only.job.window.end.unwrap().ns), (s(1), s(20)));
    assert_eq!(only.job.steps.len(), 2);
}

/// The kernel's last figures and the exit codes come after the end.
#[test]
fn the_last_figures_of_its_steps_are_waited_for() {
    let story = story();
    for late in [22, 25] {
        let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
        let mut sent = Vec::new();
        for second in 1..60 {
            let (mut snapshot, _) = news(&story, second, true);
            if second < late {
                for one in &mut snapshot.containers {
                    if let Some(reading) = &mut one.reading {
                        reading.quality = None;
                    }
                }
            }
            assembler.snapshots(vec![snapshot], true, s(second));
            sent.extend(assembler.turn(s(second)).dispatches.into_iter().map(|_| second));
        }
        let [at] = sent[..] else { panic!("{sent:?}") };
        assert!(at >= late, "sent at {at}, known at {late}");
    }
}

//! What is counted under which names, and for how long.

use super::*;
use crate::story::{Story, s};

#[test]
fn a_job_is_counted_with_its_parts_and_an_exemplar_that_leads_to_it() {
    let job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    tally.started(&job);
    tally.finished(&job);
    let (labels, counts) = tally.sets().next().unwrap();
    assert_eq!((&*labels.repository, &*labels.job), ("o/r", "test"));
    assert_eq!((counts.started, counts.completed["failure"]), (1, 1));
    assert_eq!(counts.since_ns, job.window.start.ns);
    assert_eq!((counts.steps["success"], counts.steps["failure"]), (2, 1));
    assert_eq!(counts.containers["ephemeral"]["success"], 3);
    assert_eq!(counts.duration_seconds.count(), 1);
    assert_eq!(counts.duration_seconds.buckets[2], 1);
    let exemplar = counts.duration_seconds.exemplars[2].clone().unwrap();
    assert_eq!(exemplar.trace_id, job.span.trace_id.to_string());
    assert_eq!(counts.container_wait_seconds.count(), 3);
    assert_eq!((counts.image_pull_seconds.count(), counts.image_pull_seconds.sum), (1, 0.4));
    let text = serde_json::to_string(&tally).unwrap();
    assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
}

#[test]
fn too_many_labels_are_counted_as_other() {
    let mut job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    for n in 0..MAX_LABELS + 50 {
        job.identity.repository = Some(format!("o/r-{}", n % 10).into());
        job.identity.job = Some(format!("job-{n}").into());
        tally.started(&job);
    }
    assert_eq!(tally.sets().count(), MAX_LABELS + 1);
    let other = tally.of(&Labels::other()).unwrap();
    assert_eq!(other.started, 50);
}

#[test]
fn made_up_names_of_one_repository_leave_the_others_their_sets() {
    let mut job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    for n in 0..2 * MAX_LABELS {
        job.identity.job = Some(format!("job-{n}").into());
        tally.started(&job);
    }
    assert_eq!(tally.sets().count(), MAX_LABELS_OF_REPOSITORY + 1);
    job.identity.repository = Some("o/another".into());
    tally.started(&job);
    assert_eq!(tally.of(&Labels::of(&job)).unwrap().started, 1);
}

#[test]
fn a_set_that_is_not_used_any_more_makes_room_and_one_that_is_does_not() {
    let mut job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    let mut start = |job: &mut Job, n: usize, at_ns: u64| {
        job.identity.job = Some(format!("job-{n}").into());
        (job.window.start.ns, job.window.end) = (at_ns, None);
        tally.started(job);
        tally.clone()
    };
    for n in 0..MAX_LABELS_OF_REPOSITORY {
        start(&mut job, n, s(100));
    }
    start(&mut job, 0, s(200));
    let full = start(&mut job, 900, s(300));
    assert!(full.of(&Labels::of(&job)).is_none(), "all were used a short time ago");
    let later = start(&mut job, 901, s(100) + UNUSED_NS);
    assert!(later.of(&Labels::of(&job)).is_some());
    let of = |n: usize| Labels { job: format!("job-{n}"), ..Labels::of(&job) };
    assert!(later.of(&of(0)).is_some(), "it was used later");
    let kept = (1..MAX_LABELS_OF_REPOSITORY).filter(|n| later.of(&of(*n)).is_some());
    assert_eq!(kept.count(), MAX_LABELS_OF_REPOSITORY - 2);
}

#[test]
fn a_set_that_no_job_has_used_for_a_week_expires_though_there_is_room() {
    let mut job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    (job.window.start.ns, job.window.end) = (s(100), None);
    tally.started(&job);
    let gone = Labels::of(&job);
    job.identity.job = Some("later".into());
    job.window.start.ns = s(200);
    tally.started(&job);
    assert!(!tally.has_expired(s(100) + EXPIRY_NS - 1));
    let now_ns = s(100) + EXPIRY_NS;
    assert!(tally.has_expired(now_ns));
    tally.expire(now_ns);
    assert!(tally.of(&gone).is_none());
    assert_eq!(tally.of(&Labels::of(&job)).unwrap().started, 1);
    assert!(!tally.has_expired(0), "a clock that was set back costs nothing");
}

#[test]
fn a_set_without_native_buckets_begins_anew() {
    let job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    tally.finished(&job);
    let mut earlier = serde_json::to_value(&tally).unwrap();
    let counts = &mut earlier["sets"][0][1];
    assert!(counts["duration_seconds"].as_object_mut().unwrap().remove("exponential").is_some());
    let read: Tally = serde_json::from_value(earlier).unwrap();
    assert_eq!(read.sets().count(), 0);
}

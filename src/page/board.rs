//! The jobs that the page shows: those under way, and those that ended within the last hour, with
//! their parts, within a bound of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_jobs::{Container, Job, Step};
use ephemon_model::PodUid;

/// Most memory of all jobs, bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most jobs.
const MAX_JOBS: usize = 512;
/// How long a job is shown after its end, nanoseconds.
const SHOWN_NS: u64 = 3_600_000_000_000;

/// The jobs; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    jobs: HashMap<PodUid, Entry>,
    bytes: usize,
    /// Rises with each change.
    generation: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    job: Arc<Job>,
    /// When its pod was done with, nanoseconds since 1970.
    over_ns: Option<u64>,
    generation: u64,
    bytes: usize,
    /// Parts that are not shown for want of memory.
    cut: usize,
}

/// A job as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) job: Arc<Job>,
    /// Whether it is over.
    pub(crate) over: bool,
    /// Parts that are not shown for want of memory.
    pub(crate) cut: usize,
}

// === impl Board ===

impl Board {
    /// Shows a job as it is now.
    pub fn put(&self, job: Arc<Job>, now_ns: u64) {
        let mut jobs = self.jobs();
        let known = jobs.jobs.get(&job.pod.uid);
        if known.is_some_and(|known| known.over_ns.is_none() && known.job == job) {
            return;
        }
        jobs.put(job, now_ns);
    }

    /// Nothing more will come of a pod's job.
    pub fn over(&self, pod: &PodUid, now_ns: u64) {
        let mut jobs = self.jobs();
        // Most pods that are done with had no job.
        if jobs.jobs.get(pod).is_none_or(|entry| entry.over_ns.is_some()) {
            return;
        }
        let generation = jobs.next();
        if let Some(entry) = jobs.jobs.get_mut(pod) {
            (entry.over_ns, entry.generation) = (Some(now_ns), generation);
        }
    }

    /// All jobs: those under way first, and of each kind the one that began last.
    pub(crate) fn all(&self, now_ns: u64) -> Vec<Shown> {
        let jobs = self.jobs();
        let entries = jobs.jobs.values().filter(|entry| !entry.is_old(now_ns));
        let mut all: Vec<Shown> = entries.map(Entry::shown).collect();
        drop(jobs);
        let order = |shown: &Shown| {
            (shown.over, u64::MAX - shown.job.window.start.ns, shown.job.pod.uid.clone())
        };
        all.sort_by_cached_key(order);
        all
    }

    /// The job of a pod.
    pub(crate) fn job(&self, pod: &PodUid, now_ns: u64) -> Option<Shown> {
        let jobs = self.jobs();
        jobs.jobs.get(pod).filter(|entry| !entry.is_old(now_ns)).map(Entry::shown)
    }

    /// What changes with any job, and what changes with this pod's.
    pub(crate) fn generations(&self, pod: Option<&PodUid>) -> (u64, Option<u64>) {
        let jobs = self.jobs();
        let of_job = pod.and_then(|pod| jobs.jobs.get(pod)).map(|entry| entry.generation);
        (jobs.generation, of_job)
    }

    /// Entries are always complete, so a poisoned lock can be used.
    fn jobs(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0)
    }
}

// === impl Kept ===

impl Kept {
    fn next(&mut self) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    fn put(&mut self, job: Arc<Job>, now_ns: u64) {
        self.jobs.retain(|_, entry| !entry.is_old(now_ns));
        let generation = self.next();
        let bytes = weight(&job);
        let entry = Entry { bytes, job, over_ns: None, generation, cut: 0 };
        self.jobs.insert(entry.job.pod.uid.clone(), entry);
        self.bytes = self.jobs.values().map(|entry| entry.bytes).sum();
        while self.bytes > MAX_BYTES || self.jobs.len() > MAX_JOBS {
            let oldest = self.jobs.iter().filter_map(|(uid, it)| Some((it.over_ns?, uid)));
            let oldest = oldest.min_by_key(|(over_ns, _)| *over_ns).map(|(_, uid)| uid.clone());
            let freed = match oldest {
                Some(uid) => self.jobs.remove(&uid).map_or(0, |entry| entry.bytes),
                None if self.jobs.len() > MAX_JOBS => self.drop_newest(),
                None => self.cut_largest(),
            };
            if freed == 0 {
                return;
            }
            self.bytes = self.bytes.saturating_sub(freed);
        }
    }

    /// More jobs than a node has pods: the last one is not shown.
    fn drop_newest(&mut self) -> usize {
        let newest = self.jobs.iter().max_by_key(|(_, entry)| entry.generation);
        let newest = newest.map(|(uid, _)| uid.clone());
        newest.and_then(|uid| self.jobs.remove(&uid)).map_or(0, |entry| entry.bytes)
    }

    /// The job with most parts is shown without them.
    fn cut_largest(&mut self) -> usize {
        let Some(largest) = self.jobs.values_mut().max_by_key(|entry| entry.bytes) else {
            return 0;
        };
        let before = largest.bytes;
        largest.cut = largest.cut.saturating_add(largest.job.parts());
        largest.job = Arc::new(largest.job.outline());
        largest.bytes = weight(&largest.job);
        before.saturating_sub(largest.bytes)
    }
}

// === impl Entry ===

impl Entry {
    fn is_old(&self, now_ns: u64) -> bool {
        self.over_ns.is_some_and(|over_ns| now_ns.saturating_sub(over_ns) > SHOWN_NS)
    }

    fn shown(&self) -> Shown {
        Shown { job: Arc::clone(&self.job), over: self.over_ns.is_some(), cut: self.cut }
    }
}

/// Memory of a job with its parts and their texts, bytes. Texts that several parts share count for
/// each.
fn weight(job: &Job) -> usize {
    let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len() + 16);
    let steps = job.steps.iter().map(|step| {
        size_of::<Step>() + step.name.len() + text(&step.display_name) + text(&step.container)
    });
    let containers = job.containers.iter().map(|container| {
        size_of::<Container>() + container.name.len() + 80 + text(&container.image)
    });
    let identity = &job.identity;
    let texts = [
        &identity.repository,
        &identity.workflow,
        &identity.workflow_ref,
        &identity.job,
        &identity.display_name,
        &identity.sha,
        &identity.git_ref,
        &identity.event,
        &identity.runner,
        &identity.server_url,
    ];
    let own = size_of::<Job>() + 512 + texts.map(text).into_iter().sum::<usize>();
    own + job.phases.len() * 96 + steps.sum::<usize>() + containers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use ephemon_jobs::story::{self, Story};
    use ephemon_model::PodRef;

    use super::*;

    fn job(number: usize) -> Job {
        let uid = PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
        let pod = Arc::new(PodRef { uid, ..(*story::pod()).clone() });
        let mut job = Story::whole().job_evidence().job(None).unwrap();
        job.pod = pod;
        job.window.start.ns += number as u64;
        job
    }

    #[test]
    fn jobs_under_way_come_first_and_old_ones_are_not_shown() {
        let board = Board::default();
        for number in 0..3 {
            board.put(Arc::new(job(number)), 10);
        }
        board.over(&job(2).pod.uid, 20);
        let order = |now| {
            let all = board.all(now).into_iter();
            all.map(|shown| (shown.job.pod.uid.to_string().pop().unwrap(), shown.over))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(30), [('1', false), ('0', false), ('2', true)]);
        assert_eq!(order(21 + SHOWN_NS), [('1', false), ('0', false)]);
        assert!(board.job(&job(2).pod.uid, 30).is_some_and(|shown| shown.over));
        assert!(board.job(&job(2).pod.uid, 21 + SHOWN_NS).is_none());
    }

    #[test]
    fn only_a_change_is_a_new_generation() {
        let board = Board::default();
        let uid = job(1).pod.uid.clone();
        board.put(Arc::new(job(1)), 10);
        let first = board.generations(Some(&uid));
        board.put(Arc::new(job(1)), 11);
        assert_eq!(board.generations(Some(&uid)), first);
        board.put(Arc::new(job(2)), 11);
        let second = board.generations(Some(&uid));
        assert!(second.0 != first.0 && second.1 == first.1);
        board.over(&uid, 12);
        let third = board.generations(Some(&uid));
        assert!(third.0 != second.0 && third.1 != second.1);
        assert_eq!(board.generations(None).1, None);
    }

    #[test]
    fn memory_is_bounded_and_ended_jobs_make_room_first() {
        let board = Board::default();
        let large = |number| {
            let mut job = job(number);
            let step = job.steps[0].clone();
            job.steps = vec![step; 900];
            Arc::new(job)
        };
        for number in 0..30 {
            board.put(large(number), 10);
            if number == 4 {
                board.over(&job(4).pod.uid, 11);
            }
            assert!(board.jobs().bytes <= MAX_BYTES);
        }
        assert!(board.job(&job(4).pod.uid, 12).is_none(), "it had ended");
        let all = board.all(12);
        assert_eq!(all.len(), 29);
        let cut: Vec<_> = all.iter().filter(|shown| shown.cut > 0).collect();
        assert!(!cut.is_empty() && cut.len() < 29);
        assert!(cut.iter().all(|shown| shown.job.steps.is_empty() && shown.cut > 900));
        for number in 30..MAX_JOBS + 40 {
            board.put(Arc::new(job(number)), 13);
        }
        assert!(board.all(14).len() <= MAX_JOBS);
    }
}

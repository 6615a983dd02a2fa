//! When each source knew of starts and ends, by the runtime's own times of them.

use std::time::{Duration, SystemTime};

use super::sources::Source;
use crate::support::cri::Cri;
use crate::support::process::until;

/// A container that has ended, by the runtime.
pub(crate) struct Truth {
    id: String,
    started: SystemTime,
    finished: SystemTime,
}

// === impl Truth ===

impl Truth {
    pub(crate) fn of(cri: &Cri, id: &str) -> Self {
        let status = cri.container_status(id).unwrap();
        let at = |ns: i64| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns.try_into().unwrap());
        let (started, finished) = (at(status.started_at), at(status.finished_at));
        Self { id: id.to_owned(), started, finished }
    }
}

/// Prints it once all know of all, or have had half a minute for it.
pub(crate) fn print(sources: &[&Source], truths: &[Truth]) {
    let knows_all = || {
        let mut rest =
            sources.iter().flat_map(|source| truths.iter().map(|one| source.known(&one.id)));
        rest.all(|known| known.ended.is_some()).then_some(())
    };
    // What a source never tells is not waited for any longer.
    until(Duration::from_secs(30), knows_all);
    println!(
        "| source | starts known | after the start: median, 95 %, last | ends known | after the end: median, 95 %, last |"
    );
    println!("|---|---|---|---|---|");
    for source in sources {
        let known: Vec<_> = truths.iter().map(|one| (one, source.known(&one.id))).collect();
        let starts = known.iter().filter_map(|(one, known)| Some(ms(one.started, known.there?)));
        let ends = known.iter().filter_map(|(one, known)| Some(ms(one.finished, known.ended?)));
        let (starts, ends) = (Delays::of(starts), Delays::of(ends));
        println!("| {} | {starts} | {ends} |", source.name);
    }
}

/// Milliseconds, sorted.
struct Delays {
    all: Vec<f64>,
}

// === impl Delays ===

impl Delays {
    fn of(all: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = all.collect();
        all.sort_by(f64::total_cmp);
        Self { all }
    }
}

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = &self.all;
        let Some(last) = all.last() else { return write!(f, "none | ") };
        let (median, late) = (all[all.len() / 2], all[all.len() * 19 / 20]);
        write!(f, "{} | {median:.1}, {late:.1}, {last:.1} ms", all.len())
    }
}

/// Milliseconds from one to the other, which may have been first.
pub(crate) fn ms(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64() * 1e3,
        Err(before) => before.duration().as_secs_f64() * -1e3,
    }
}

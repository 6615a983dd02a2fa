//! How long the series of ended containers stay: until every scraper has fetched them twice (a rate
//! needs two points), at most `--retain-ended`, at most `--max-ended` of them.
//!
//! A scraper that comes at least once in `--retain-ended` misses nothing that is kept so long,
//! whoever else scrapes: nothing goes early before the agent has listened for as long, while
//! somebody is waited for, or while there are more scrapers than can be remembered.
//!
//! Pure: the caller tells the time.

mod scrapers;

pub use scrapers::ScraperId;
pub(super) use scrapers::{ScraperKey, Scrapers};

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use ephemon_model::ContainerId;
use ephemon_self_metrics::Reason;

/// Fetches after which a scraper has what it needs.
const ENOUGH: u8 = 2;

/// The bounds of what is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `--retain-ended`.
    pub(super) retain: Duration,
    /// `--max-ended`.
    pub(super) count: usize,
}

/// Who scrapes, and which ended containers they have fetched how often.
#[derive(Debug)]
pub(super) struct Retention {
    limits: Limits,
    /// Since when scrapers could have come.
    began: Instant,
    scrapers: Scrapers,
    kept: HashMap<ContainerId, Kept>,
}

/// An ended container, as a review is told of it.
#[derive(Debug, Clone)]
pub(super) struct EndedContainer {
    pub(super) id: ContainerId,
    pub(super) at: SystemTime,
    /// An engine in another container made it.
    pub(super) nested: bool,
    /// A newer container has the same labels, so this one can no longer be shown.
    pub(super) superseded: bool,
}

/// An ended container to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) id: ContainerId,
    /// Why it goes before it was fetched often enough; nothing where it was.
    pub(super) lost: Option<Reason>,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    fetched: Vec<(ScraperKey, u8)>,
}

// === impl Retention ===

impl Retention {
    /// Scrapers can come since `began`.
    pub(super) fn new(limits: Limits, began: Instant) -> Self {
        Self { limits, began, scrapers: Scrapers::new(limits.retain), kept: HashMap::new() }
    }

    /// A scraper asks. Nothing where it cannot be remembered: what it fetches does not count.
    pub(super) fn arrive(&mut self, who: &ScraperId, now: Instant) -> Option<ScraperKey> {
        self.scrapers.arrive(who, now)
    }

    /// A connection is closed.
    pub(super) fn hung_up(&mut self, connection: u64) {
        self.scrapers.hung_up(connection);
    }

    /// A scraper has received these containers' series in full.
    pub(super) fn fetched(&mut self, by: ScraperKey, ids: &[ContainerId]) {
        for id in ids {
            let Some(kept) = self.kept.get_mut(id) else {
                continue;
            };
            match kept.fetched.iter_mut().find(|(key, _)| *key == by) {
                Some((_, times)) => *times = times.saturating_add(1),
                None => kept.fetched.push((by, 1)),
            }
        }
    }

    /// Which of the ended containers there are are to be forgotten now.
    pub(super) fn review(&mut self, ended: &[EndedContainer], now: Instant) -> Vec<Departure> {
        let present: HashSet<_> = ended.iter().map(|container| &container.id).collect();
        self.kept.retain(|id, _| present.contains(id));
        let all_known = now.saturating_duration_since(self.began) >= self.limits.retain
            && !self.scrapers.crowded(now);
        let waited_for = all_known.then(|| self.scrapers.waited_for(now));
        let steady = self.scrapers.steady(now);

        let mut departures = Vec::new();
        let mut staying = Vec::new();
        for container in ended {
            let kept = self
                .kept
                .entry(container.id.clone())
                .or_insert(Kept { since: now, fetched: Vec::new() });
            let due = if waited_for.as_ref().is_some_and(|all| kept.satisfies(all)) {
                None
            } else if container.superseded {
                Some(Reason::Superseded)
            } else if now.saturating_duration_since(kept.since) >= self.limits.retain {
                Some(Reason::Expired)
            } else {
                staying.push(container);
                continue;
            };
            let lost = due.filter(|_| !kept.satisfies(&steady));
            departures.push(Departure { id: container.id.clone(), lost });
        }

        let nested = staying.iter().filter(|container| container.nested).count();
        let excess = staying.len().saturating_sub(self.limits.count);
        // A job makes as many nested ones as it likes: they go before others, and have a share.
        let excess = excess.max(nested.saturating_sub(self.limits.count.div_ceil(4)));
        if excess > 0 {
            staying.sort_by(|a, b| (!a.nested, a.at, &a.id).cmp(&(!b.nested, b.at, &b.id)));
            departures.extend(
                staying.iter().take(excess).map(|container| Departure {
                    id: container.id.clone(),
                    lost: Some(Reason::Cap),
                }),
            );
        }
        for departure in &departures {
            self.kept.remove(&departure.id);
        }
        departures
    }
}

// === impl Kept ===

impl Kept {
    /// Somebody has fetched it often enough, and none of these has not.
    fn satisfies(&self, scrapers: &[ScraperKey]) -> bool {
        let enough =
            |key: &ScraperKey| self.fetched.iter().any(|(by, times)| by == key && *times >= ENOUGH);
        self.fetched.iter().any(|(_, times)| *times >= ENOUGH) && scrapers.iter().all(enough)
    }
}

#[cfg(test)]
mod tests;

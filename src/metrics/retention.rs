//! How long the series of ended containers stay: until every active scraper has fetched them
//! twice (a rate needs two points), at most `--retain-ended`, at most `--max-ended` of them.
//!
//! Pure: the caller tells the time.

mod scrapers;

pub use scrapers::ScraperId;
pub(super) use scrapers::{ScraperKey, Scrapers};

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use crate::model::ContainerId;
use crate::vitals::Reason;

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
    scrapers: Scrapers,
    kept: HashMap<ContainerId, Kept>,
}

/// An ended container, as a review is told of it.
#[derive(Debug, Clone)]
pub(super) struct EndedContainer {
    pub(super) id: ContainerId,
    pub(super) at: SystemTime,
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
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, scrapers: Scrapers::new(limits.retain), kept: HashMap::new() }
    }

    /// A scraper asks.
    pub(super) fn arrive(&mut self, who: &ScraperId, now: Instant) -> ScraperKey {
        self.scrapers.arrive(who, now)
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
        let active: Vec<_> = self.scrapers.active(now).collect();

        let mut departures = Vec::new();
        let mut staying = Vec::new();
        for container in ended {
            let kept = self
                .kept
                .entry(container.id.clone())
                .or_insert(Kept { since: now, fetched: Vec::new() });
            let lost = if kept.satisfies(&active) {
                None
            } else if container.superseded {
                Some(Reason::Superseded)
            } else if now.saturating_duration_since(kept.since) >= self.limits.retain {
                Some(Reason::Expired)
            } else {
                staying.push(container);
                continue;
            };
            departures.push(Departure { id: container.id.clone(), lost });
        }

        let excess = staying.len().saturating_sub(self.limits.count);
        if excess > 0 {
            staying.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
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
    /// Somebody has fetched it often enough, and nobody who still scrapes has not.
    fn satisfies(&self, active: &[ScraperKey]) -> bool {
        let enough =
            |key: &ScraperKey| self.fetched.iter().any(|(by, times)| by == key && *times >= ENOUGH);
        self.fetched.iter().any(|(_, times)| *times >= ENOUGH) && active.iter().all(enough)
    }
}

#[cfg(test)]
mod tests;

//! Who scrapes, how often, and who still does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Scrapers remembered at once; the one silent longest makes room for a new one.
const MAX_SCRAPERS: usize = 64;

/// Bytes of a `User-Agent` that count.
const MAX_AGENT: usize = 128;

/// Intervals a scraper may miss before it is taken to be gone.
const MISSES: u32 = 3;

/// A scraper of which less is known than this is active for as long.
const MIN_ACTIVE: Duration = Duration::from_mins(1);

/// What tells one scraper from another: its address without the port, and its `User-Agent`.
///
/// Two replicas behind one translated address look like one; each then fetches an ended container
/// once at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScraperId {
    address: IpAddr,
    agent: Box<str>,
}

/// A scraper that was seen; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metrics) struct ScraperKey(u64);

/// The scrapers seen lately. Never more than [`MAX_SCRAPERS`].
#[derive(Debug)]
pub(in crate::metrics) struct Scrapers {
    longest: Duration,
    seen: Vec<Scraper>,
    next: u64,
}

#[derive(Debug)]
struct Scraper {
    id: ScraperId,
    key: ScraperKey,
    last: Instant,
    /// The last intervals between its visits, newest first.
    intervals: [Duration; 3],
}

// === impl ScraperId ===

impl ScraperId {
    /// Takes a peer's address and the `User-Agent` it sent, if any.
    pub fn new(address: IpAddr, agent: &str) -> Self {
        let end = agent.floor_char_boundary(MAX_AGENT);
        Self { address: address.to_canonical(), agent: agent.get(..end).unwrap_or_default().into() }
    }
}

// === impl Scrapers ===

impl Scrapers {
    /// Nobody yet; nobody is active longer than `longest` after a visit.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, seen: Vec::new(), next: 0 }
    }

    pub(super) fn arrive(&mut self, who: &ScraperId, now: Instant) -> ScraperKey {
        if let Some(scraper) = self.seen.iter_mut().find(|scraper| scraper.id == *who) {
            let [newest, second, _] = scraper.intervals;
            let interval = now.saturating_duration_since(scraper.last);
            scraper.intervals = [interval, newest, second];
            scraper.last = now;
            return scraper.key;
        }
        if self.seen.len() >= MAX_SCRAPERS {
            let silent = self.seen.iter().enumerate().min_by_key(|(_, scraper)| scraper.last);
            if let Some((at, _)) = silent {
                self.seen.swap_remove(at);
            }
        }
        let key = ScraperKey(self.next);
        self.next += 1;
        self.seen.push(Scraper { id: who.clone(), key, last: now, intervals: [Duration::ZERO; 3] });
        key
    }

    pub(super) fn active(&self, now: Instant) -> impl Iterator<Item = ScraperKey> {
        self.seen
            .iter()
            .filter(move |scraper| {
                now.saturating_duration_since(scraper.last) < scraper.patience(self.longest)
            })
            .map(|scraper| scraper.key)
    }
}

// === impl Scraper ===

impl Scraper {
    /// The longest of the last intervals, so that a retry right after a failure does not make a
    /// slow scraper look like a fast one that has gone.
    fn patience(&self, longest: Duration) -> Duration {
        let interval = self.intervals.iter().max().copied().unwrap_or_default();
        (interval * MISSES).max(MIN_ACTIVE).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETAIN: Duration = Duration::from_mins(5);

    fn id(agent: &str) -> ScraperId {
        ScraperId::new(IpAddr::from([10, 0, 0, 1]), agent)
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_scraper_seen_once_is_active_for_a_minute() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        scrapers.arrive(&id("curl"), start);
        assert_eq!(scrapers.active(after(start, 59)).count(), 1);
        assert_eq!(scrapers.active(after(start, 60)).count(), 0);
    }

    #[test]
    fn a_slow_scraper_is_active_for_three_of_its_intervals_though_it_retried_once() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        for seconds in [0, 60, 61] {
            scrapers.arrive(&id("slow"), after(start, seconds));
        }
        assert_eq!(scrapers.active(after(start, 61 + 179)).count(), 1);
        assert_eq!(scrapers.active(after(start, 61 + 180)).count(), 0);
    }

    #[test]
    fn nobody_is_active_longer_than_anything_is_kept() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        scrapers.arrive(&id("hourly"), start);
        scrapers.arrive(&id("hourly"), after(start, 3600));
        assert_eq!(scrapers.active(after(start, 3600 + 299)).count(), 1);
        assert_eq!(scrapers.active(after(start, 3600 + 300)).count(), 0);
    }

    #[test]
    fn the_port_and_the_family_of_an_address_make_no_other_scraper() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(ScraperId::new(mapped, "curl"), id("curl"));
        assert_ne!(id("curl"), id("Prometheus/2.42.0"));
        let long = "é".repeat(MAX_AGENT);
        assert_eq!(id(&long), id(&format!("{long}more")));
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_drops_the_silent_first() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        let regular = scrapers.arrive(&id("regular"), start);
        for n in 0..1000 {
            let now = start + Duration::from_millis(n);
            scrapers.arrive(&id(&format!("flood {n}")), now);
            assert_eq!(scrapers.arrive(&id("regular"), now), regular);
            assert!(scrapers.seen.len() <= MAX_SCRAPERS);
        }
    }
}

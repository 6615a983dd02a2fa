//! Who scrapes, how often, and for whom ended containers wait.
//!
//! Anybody may scrape, so nobody who scrapes may cost another his figures: a scraper is waited for
//! until it has been away for as long as anything is kept, and when there are more than can be
//! remembered, [`Scrapers::crowded`] says that someone is waited for who is not known.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Scrapers remembered at once.
const MAX_SCRAPERS: usize = 64;

/// Bytes of a `User-Agent` that count.
const MAX_AGENT: usize = 128;

/// Intervals a scraper may miss before it is taken to have stopped.
const MISSED_SCRAPES_LIMIT: u32 = 3;

/// The shortest silence after which a scraper is taken to have stopped.
const ACTIVE_MIN: Duration = Duration::from_mins(1);

/// What tells one scraper from another: its address without the port, its `User-Agent`, and, while
/// it is open, the connection: a second client with the same address and agent is a second scraper
/// for as long as the first keeps its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScraperId {
    address: IpAddr,
    agent: Box<str>,
    connection: Option<u64>,
}

/// A scraper that was seen; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScraperKey(u64);

/// The scrapers seen lately. Never more than [`MAX_SCRAPERS`].
#[derive(Debug)]
pub(crate) struct Scrapers {
    longest: Duration,
    seen: Vec<Scraper>,
    next: u64,
    /// When a scraper last found no room.
    refused: Option<Instant>,
}

#[derive(Debug)]
struct Scraper {
    /// With the connection that is its own now.
    id: ScraperId,
    key: ScraperKey,
    last: Instant,
    /// The last intervals between its visits, newest first.
    intervals: [Option<Duration>; 3],
}

// === impl ScraperId ===

impl ScraperId {
    /// Takes a peer's address and the `User-Agent` it sent, if any.
    pub fn new(address: IpAddr, agent: &str) -> Self {
        let end = agent.floor_char_boundary(MAX_AGENT);
        Self {
            address: address.to_canonical(),
            agent: agent.get(..end).unwrap_or_default().into(),
            connection: None,
        }
    }

    /// The same on a connection, by a number that no other connection ever had.
    #[must_use]
    pub fn on(self, connection: u64) -> Self {
        Self { connection: Some(connection), ..self }
    }

    fn same_client(&self, other: &Self) -> bool {
        self.address == other.address && self.agent == other.agent
    }
}

// === impl Scrapers ===

impl Scrapers {
    /// Nobody yet; nobody is waited for longer than `longest` after a visit.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, seen: Vec::new(), next: 0, refused: None }
    }

    /// A scraper asks. Nothing where there is no room to remember it: then all are waited for.
    pub(super) fn arrive(&mut self, who: &ScraperId, now: Instant) -> Option<ScraperKey> {
        if let Some(scraper) = self.find(who) {
            let [newest, second, _] = scraper.intervals;
            let interval = now.saturating_duration_since(scraper.last);
            scraper.intervals = [Some(interval), newest, second];
            scraper.last = now;
            scraper.id.connection = who.connection;
            return Some(scraper.key);
        }
        if self.seen.len() >= MAX_SCRAPERS {
            let longest = self.longest;
            self.seen.retain(|scraper| scraper.silent(now) < longest);
        }
        if self.seen.len() >= MAX_SCRAPERS {
            self.refused = Some(now);
            return None;
        }
        let key = ScraperKey(self.next);
        self.next += 1;
        self.seen.push(Scraper { id: who.clone(), key, last: now, intervals: [None; 3] });
        Some(key)
    }

    /// The client's scraper on this connection, else one that has none any more.
    fn find(&mut self, who: &ScraperId) -> Option<&mut Scraper> {
        let with = |connection: Option<u64>| {
            self.seen.iter().position(|scraper| {
                scraper.id.connection == connection && scraper.id.same_client(who)
            })
        };
        let at = with(who.connection).or_else(|| with(None))?;
        self.seen.get_mut(at)
    }

    /// A connection is closed: who scraped on it may come back on another.
    pub(super) fn hung_up(&mut self, connection: u64) {
        for scraper in
            self.seen.iter_mut().filter(|scraper| scraper.id.connection == Some(connection))
        {
            scraper.id.connection = None;
        }
    }

    /// Everybody who came lately enough to come again while something is kept.
    pub(super) fn waited_for(&self, now: Instant) -> Vec<ScraperKey> {
        self.keys(|scraper| scraper.silent(now) < self.longest)
    }

    /// Those who come again and again, and have not stopped: what they miss is a loss.
    pub(super) fn steady(&self, now: Instant) -> Vec<ScraperKey> {
        self.keys(|scraper| scraper.steady(now, self.longest))
    }

    /// Somebody came lately who is not remembered.
    pub(super) fn crowded(&self, now: Instant) -> bool {
        self.refused.is_some_and(|at| now.saturating_duration_since(at) < self.longest)
    }

    fn keys(&self, which: impl Fn(&Scraper) -> bool) -> Vec<ScraperKey> {
        self.seen.iter().filter(|scraper| which(scraper)).map(|scraper| scraper.key).collect()
    }
}

// === impl Scraper ===

impl Scraper {
    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// The longest of the last intervals counts, so that a retry right after a failure does not
    /// make a slow scraper look like a fast one that has gone.
    fn steady(&self, now: Instant, longest: Duration) -> bool {
        let known: Option<Vec<_>> = self.intervals.iter().copied().collect();
        known.and_then(|intervals| intervals.into_iter().max()).is_some_and(|interval| {
            self.silent(now)
                < interval.saturating_mul(MISSED_SCRAPES_LIMIT).max(ACTIVE_MIN).min(longest)
        })
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
    fn a_scraper_is_waited_for_as_long_as_anything_is_kept() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        scrapers.arrive(&id("curl"), start);
        assert_eq!(scrapers.waited_for(after(start, 299)).len(), 1);
        assert_eq!(scrapers.waited_for(after(start, 300)).len(), 0);
        assert_eq!(scrapers.steady(start).len(), 0, "it may never come again");
    }

    #[test]
    fn a_slow_scraper_is_steady_for_three_of_its_intervals_though_it_retried_once() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        for seconds in [0, 60, 120, 121] {
            scrapers.arrive(&id("slow"), after(start, seconds));
        }
        assert_eq!(scrapers.steady(after(start, 121 + 179)).len(), 1);
        assert_eq!(scrapers.steady(after(start, 121 + 180)).len(), 0);
    }

    #[test]
    fn nobody_is_steady_longer_than_anything_is_kept() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        for hour in 0..4 {
            scrapers.arrive(&id("hourly"), after(start, 3600 * hour));
        }
        assert_eq!(scrapers.steady(after(start, 3 * 3600 + 299)).len(), 1);
        assert_eq!(scrapers.steady(after(start, 3 * 3600 + 300)).len(), 0);
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
    fn a_flood_of_names_is_bounded_and_puts_nobody_out() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        let regular = scrapers.arrive(&id("regular"), start);
        assert!(!scrapers.crowded(start));
        for n in 0..1000 {
            let now = start + Duration::from_millis(n);
            scrapers.arrive(&id(&format!("flood {n}")), now);
            assert!(scrapers.seen.len() <= MAX_SCRAPERS);
        }
        let flooded = after(start, 1);
        assert!(scrapers.crowded(flooded), "who comes now is not remembered");
        assert!(scrapers.waited_for(flooded).iter().any(|key| Some(*key) == regular));
        let later = after(start, 400);
        assert!(!scrapers.crowded(later));
        assert!(scrapers.arrive(&id("another"), later).is_some(), "the silent made room");
    }

    #[test]
    fn a_client_that_looks_alike_is_another_scraper_while_the_first_is_connected() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(RETAIN);
        let real = scrapers.arrive(&id("Prometheus/3").on(1), start);
        let alike = scrapers.arrive(&id("Prometheus/3").on(2), start);
        assert_ne!(real, alike);
        assert_eq!(scrapers.arrive(&id("Prometheus/3").on(1), start), real);
        scrapers.hung_up(1);
        assert_eq!(scrapers.arrive(&id("Prometheus/3").on(3), start), real, "it came back");
    }
}

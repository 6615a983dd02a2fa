//! What must hold of retention, on a clock of the test's own.

use std::collections::HashSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { retain: Duration::from_mins(5), count: 100 };

fn id(n: usize) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

fn ended(n: usize) -> EndedContainer {
    EndedContainer {
        id: id(n),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64),
        nested: false,
        superseded: false,
    }
}

fn scraper(name: &str) -> ScraperId {
    ScraperId::new(IpAddr::from([127, 0, 0, 1]), name)
}

fn gone(n: usize, lost: Option<Reason>) -> Departure {
    Departure { id: id(n), lost }
}

/// Retention, a clock, and the containers that are there.
struct Rig {
    retention: Retention,
    now: Instant,
    there: Vec<EndedContainer>,
}

impl Rig {
    /// The agent has listened for long.
    fn with(there: impl IntoIterator<Item = usize>) -> Self {
        let now = Instant::now();
        Self::listening_since(now.checked_sub(LIMITS.retain).unwrap(), now, there)
    }

    fn listening_since(
        began: Instant,
        now: Instant,
        there: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut rig = Self {
            retention: Retention::new(LIMITS, began),
            now,
            there: there.into_iter().map(ended).collect(),
        };
        assert_eq!(rig.review(), []);
        rig
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn review(&mut self) -> Vec<Departure> {
        let departures = self.retention.review(&self.there, self.now);
        self.there
            .retain(|container| departures.iter().all(|departure| departure.id != container.id));
        departures
    }

    /// A whole scrape: review, render, body written out.
    fn scrape(&mut self, name: &str) -> Vec<Departure> {
        self.scrape_as(&scraper(name))
    }

    fn scrape_as(&mut self, who: &ScraperId) -> Vec<Departure> {
        let key = self.retention.arrive(who, self.now);
        let departures = self.review();
        let shown: Vec<_> = self.there.iter().map(|container| container.id.clone()).collect();
        if let Some(key) = key {
            self.retention.fetched(key, &shown);
        }
        departures
    }
}

#[test]
fn an_ended_container_goes_when_the_only_scraper_has_fetched_it_twice() {
    let mut rig = Rig::with([1]);
    assert_eq!(rig.scrape("prometheus"), []);
    rig.wait(15);
    assert_eq!(rig.scrape("prometheus"), []);
    assert_eq!(rig.review(), [gone(1, None)]);
}

#[test]
fn every_active_scraper_must_have_fetched_it_twice() {
    let mut rig = Rig::with([1]);
    for _ in 0..2 {
        rig.scrape("a");
        rig.wait(15);
    }
    rig.there = vec![ended(1), ended(2)];
    rig.scrape("b");
    assert_eq!(rig.review(), [], "b has fetched once");
    rig.wait(15);
    rig.scrape("b");
    assert_eq!(rig.review(), [gone(1, None)], "a has never fetched the second");
}

#[test]
fn a_scrape_that_was_not_written_out_does_not_count() {
    let mut rig = Rig::with([1]);
    for _ in 0..5 {
        rig.retention.arrive(&scraper("broken"), rig.now);
        assert_eq!(rig.review(), []);
        rig.wait(1);
    }
}

#[test]
fn a_visitor_who_never_comes_back_is_waited_for_and_costs_no_loss() {
    let mut rig = Rig::with([1]);
    rig.scrape("curl");
    for _ in 0..19 {
        rig.wait(15);
        assert_eq!(rig.scrape("prometheus"), []);
    }
    rig.wait(15);
    assert_eq!(rig.scrape("prometheus"), [gone(1, None)]);
}

#[test]
fn what_a_steady_scraper_has_not_fetched_is_lost_though_another_has() {
    let mut rig = Rig::with([]);
    for _ in 0..4 {
        rig.scrape("slow");
        rig.wait(200);
    }
    rig.scrape("slow");
    rig.there = vec![ended(2)];
    assert_eq!(rig.review(), []);
    rig.wait(200);
    rig.scrape("slow");
    rig.scrape("stranger");
    rig.scrape("stranger");
    rig.wait(100);
    assert_eq!(rig.review(), [gone(2, Some(Reason::Expired))]);
}

// --- strangers beside the real scraper

#[test]
fn a_stranger_who_is_first_after_a_start_takes_nothing_from_the_scraper_that_is_to_come() {
    let now = Instant::now();
    let mut rig = Rig::listening_since(now, now, [1]);
    for _ in 0..8 {
        assert_eq!(rig.scrape("stranger"), []);
        rig.wait(30);
    }
    assert_eq!(rig.scrape("prometheus"), []);
    assert!(!rig.there.is_empty(), "the real one has it once");
}

#[test]
fn a_stranger_takes_nothing_from_a_scraper_whose_second_visit_is_minutes_away() {
    let mut rig = Rig::with([]);
    rig.scrape("prometheus");
    rig.there = vec![ended(1)];
    rig.review();
    for _ in 0..8 {
        rig.wait(30);
        assert_eq!(rig.scrape("stranger"), []);
    }
}

#[test]
fn a_crowd_of_strangers_puts_no_scraper_out_of_mind() {
    let mut rig = Rig::with([]);
    for _ in 0..4 {
        rig.scrape("prometheus");
        rig.wait(15);
    }
    rig.there = vec![ended(1)];
    rig.review();
    for _ in 0..3 {
        for n in 0..200 {
            assert_eq!(rig.scrape(&format!("stranger {n}")), []);
        }
    }
    assert_eq!(rig.there.len(), 1);
    // Nor does it take anything from a scraper for which there is no room left.
    let late = scraper("late");
    assert_eq!(rig.scrape_as(&late), []);
    rig.scrape("prometheus");
    rig.scrape("prometheus");
    rig.wait(299);
    assert_eq!(rig.review(), []);
}

#[test]
fn a_stranger_who_looks_like_the_scraper_takes_nothing_while_it_is_connected() {
    let mut rig = Rig::with([1]);
    let [real, alike] = [1, 2].map(|connection| scraper("Prometheus/3").on(connection));
    rig.scrape_as(&real);
    for _ in 0..5 {
        assert_eq!(rig.scrape_as(&alike), []);
    }
    rig.scrape_as(&real);
    assert_eq!(rig.review(), [gone(1, None)]);
}

#[test]
fn what_nobody_fetches_twice_expires_and_is_told_so() {
    let mut rig = Rig::with([1]);
    rig.scrape("curl");
    rig.wait(299);
    assert_eq!(rig.review(), []);
    rig.wait(1);
    assert_eq!(rig.review(), [gone(1, Some(Reason::Expired))]);
}

#[test]
fn what_was_fetched_twice_by_one_that_left_is_not_lost() {
    let mut rig = Rig::with([1]);
    rig.scrape("b");
    rig.scrape("a");
    rig.scrape("a");
    assert_eq!(rig.review(), []);
    rig.wait(300);
    assert_eq!(rig.review(), [gone(1, None)]);
}

#[test]
fn the_oldest_make_room_above_the_cap() {
    let mut rig = Rig::with(0..100);
    rig.there.extend([ended(100), ended(101)]);
    rig.there.reverse();
    let departures = rig.review();
    assert_eq!(departures, [gone(0, Some(Reason::Cap)), gone(1, Some(Reason::Cap))]);
}

#[test]
fn a_superseded_container_goes_at_once_and_is_lost_only_if_it_was_not_fetched() {
    let mut rig = Rig::with([1, 2]);
    rig.there.retain(|container| container.id == id(1));
    rig.scrape("prometheus");
    rig.scrape("prometheus");
    rig.there = vec![ended(1), ended(2)];
    for container in &mut rig.there {
        container.superseded = true;
    }
    assert_eq!(rig.review(), [gone(1, None), gone(2, Some(Reason::Superseded))]);
}

#[test]
fn a_container_forgotten_elsewhere_leaves_no_trace() {
    let mut rig = Rig::with([1, 2, 3]);
    rig.there.clear();
    assert_eq!(rig.review(), []);
    assert!(rig.retention.kept.is_empty());
}

proptest! {
    /// Any mix of scrapes by any scrapers, ends and pauses: every container departs exactly once
    /// and within its time; one that is not lost was fetched twice by somebody.
    #[test]
    fn every_container_departs_once_and_in_time(
        acts in prop::collection::vec((0_u8..5, 0_u64..40), 1..120),
    ) {
        let mut rig = Rig::with([]);
        let (mut next, mut created) = (0, Vec::new());
        let mut fetches = HashMap::<(ContainerId, u8), u32>::new();
        let mut departed = HashSet::new();
        for (act, seconds) in acts {
            let departures = match act {
                0 | 1 => {
                    let departures = rig.scrape(["a", "b"][usize::from(act)]);
                    for container in &rig.there {
                        *fetches.entry((container.id.clone(), act)).or_default() += 1;
                    }
                    departures
                }
                2 => {
                    rig.there.push(ended(next));
                    created.push(rig.now);
                    next += 1;
                    rig.review()
                }
                _ => {
                    rig.wait(seconds);
                    rig.review()
                }
            };
            for Departure { id, lost } in departures {
                prop_assert!(departed.insert(id.clone()), "{id} departed twice");
                let most = (0..2).filter_map(|by| fetches.get(&(id.clone(), by))).max();
                prop_assert!(lost.is_some() || most.is_some_and(|times| *times >= 2));
            }
            for container in &rig.there {
                let n = usize::from_str_radix(container.id.as_str(), 16).unwrap();
                prop_assert!(rig.now - created[n] < LIMITS.retain);
            }
        }
        prop_assert_eq!(departed.len() + rig.there.len(), next);
    }
}

#[test]
fn nested_ones_go_before_others_and_have_a_quarter_of_the_places() {
    let mut rig = Rig::with([]);
    let nested = |n| EndedContainer { nested: true, ..ended(n) };
    rig.there = (0..50).map(ended).chain((100..160).map(nested)).collect();
    assert_eq!(rig.review(), (100..135).map(|n| gone(n, Some(Reason::Cap))).collect::<Vec<_>>());
    rig.there.extend((200..230).map(ended));
    assert_eq!(rig.review(), (135..140).map(|n| gone(n, Some(Reason::Cap))).collect::<Vec<_>>());
}

//! Who is connected, and who is cut when there is no room: never who comes, always who holds most.
//!
//! A probe must be answered whatever others do on this port, and nothing tells a probe from a
//! silent peer before it has spoken. So nobody waits for a place: each newcomer gets one at once,
//! and the address with the most connections loses one: first one that never asked anything, the
//! oldest of them, since a probe asks at once; then one that waits between two requests, the newest,
//! since a scraper stays; then one that takes its time to read, the slowest.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use ephemon_base::lock;
use ephemon_self_metrics::{Closed, SelfMetrics};
use tokio::task::AbortHandle;

/// Connections at once.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// Connections of one address at once.
pub(super) const MAX_PER_PEER: usize = 32;

/// Scrapes whose texts may be in memory at once, for clients that read slowly.
pub(super) const MAX_SCRAPES: usize = 16;

/// The connections there are. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    self_metrics: SelfMetrics,
}

/// One connection's place; given back when the last clone is dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seat(Arc<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    peer: IpAddr,
    seats: Seats,
}

/// Room for one scrape's text.
#[derive(Debug)]
pub(super) struct ScrapeRoom {
    seat: Seat,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Sitter>,
}

#[derive(Debug)]
struct Sitter {
    peer: IpAddr,
    doing: Doing,
    since: Instant,
    /// Texts that it has not read to the end.
    scrapes: usize,
    task: Option<AbortHandle>,
}

/// In the order in which they are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// It has not asked anything yet.
    Silent,
    /// It was answered, and may ask again.
    Idle,
    /// It is being answered.
    Reading,
}

// === impl Seats ===

impl Seats {
    pub(super) fn new(self_metrics: SelfMetrics) -> Self {
        Self { taken: Arc::default(), self_metrics }
    }

    /// A place for a connection. Who must go for it is cut.
    pub(super) fn take(&self, peer: IpAddr) -> Seat {
        let peer = peer.to_canonical();
        let mut taken = self.taken();
        let cut = taken.make_room(peer);
        let number = taken.next;
        taken.next += 1;
        let sitter =
            Sitter { peer, doing: Doing::Silent, since: Instant::now(), scrapes: 0, task: None };
        taken.seats.insert(number, sitter);
        drop(taken);
        self.cut(cut);
        Seat(Arc::new(Place { number, peer, seats: self.clone() }))
    }

    /// Counts a connection that is closed before its peer was done.
    pub(super) fn closed(&self, why: Closed) {
        self.self_metrics.connection_closed(why);
    }

    fn cut(&self, sitter: Option<Sitter>) {
        if let Some(sitter) = sitter {
            tracing::debug!(peer = %sitter.peer, doing = ?sitter.doing, "cut to make room");
            self.closed(Closed::Room);
            if let Some(task) = sitter.task {
                task.abort();
            }
        }
    }

    /// A panic elsewhere leaves whole entries.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

// === impl Taken ===

impl Taken {
    /// Takes out who must go before another of this address comes.
    fn make_room(&mut self, peer: IpAddr) -> Option<Sitter> {
        let own = self.seats.values().filter(|sitter| sitter.peer == peer).count();
        if own >= MAX_PER_PEER {
            self.take_out(|sitter| (sitter.peer == peer).then_some(1))
        } else if self.seats.len() >= MAX_CONNECTIONS {
            self.take_out(|_| Some(1))
        } else {
            None
        }
    }

    /// Of the address that weighs most, the one that is missed least.
    fn take_out(&mut self, weight: impl Fn(&Sitter) -> Option<usize>) -> Option<Sitter> {
        let mut weights = HashMap::<IpAddr, usize>::new();
        for sitter in self.seats.values() {
            *weights.entry(sitter.peer).or_default() += weight(sitter).unwrap_or_default();
        }
        let number = self
            .seats
            .iter()
            .filter(|(_, sitter)| weight(sitter).is_some())
            .min_by_key(|(number, sitter)| {
                let heaviest = Reverse(weights.get(&sitter.peer).copied());
                let order = match sitter.doing {
                    Doing::Silent => (None, **number),
                    Doing::Idle => (None, u64::MAX - **number),
                    Doing::Reading => (Some(sitter.since), **number),
                };
                (heaviest, sitter.doing, order)
            })
            .map(|(number, _)| *number)?;
        self.seats.remove(&number)
    }
}

// === impl Seat ===

impl Seat {
    /// A number that no other connection ever had.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// The peer, as the bounds know it.
    pub(super) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// The task that serves this connection, to be aborted when it is cut. One that was cut
    /// before its task was there is aborted now.
    pub(super) fn served_by(&self, task: AbortHandle) {
        match self.0.seats.taken().seats.get_mut(&self.0.number) {
            Some(sitter) => sitter.task = Some(task),
            None => task.abort(),
        }
    }

    /// It has asked and is being answered.
    pub(super) fn reads(&self) {
        self.does(Doing::Reading);
    }

    /// It has its answer and may ask again.
    pub(super) fn idles(&self) {
        self.does(Doing::Idle);
    }

    /// Room for a text. Where there is none the address with the most loses its oldest, which is
    /// the slowest: a text takes its reader milliseconds. Nothing for a connection that was cut.
    pub(super) fn scrape(&self) -> Option<ScrapeRoom> {
        let mut taken = self.0.seats.taken();
        let all: usize = taken.seats.values().map(|sitter| sitter.scrapes).sum();
        let cut = if all >= MAX_SCRAPES {
            taken.take_out(|sitter| (sitter.scrapes > 0).then_some(sitter.scrapes))
        } else {
            None
        };
        let own = taken.seats.get_mut(&self.0.number).map(|sitter| sitter.scrapes += 1);
        drop(taken);
        self.0.seats.cut(cut);
        own.map(|()| ScrapeRoom { seat: self.clone() })
    }

    /// Counts a connection that is closed before its peer was done.
    pub(super) fn closed(&self, why: Closed) {
        self.0.seats.closed(why);
    }

    fn does(&self, doing: Doing) {
        if let Some(sitter) = self.0.seats.taken().seats.get_mut(&self.0.number) {
            (sitter.doing, sitter.since) = (doing, Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}

impl Drop for ScrapeRoom {
    fn drop(&mut self) {
        let place = &self.seat.0;
        if let Some(sitter) = place.seats.taken().seats.get_mut(&place.number) {
            sitter.scrapes = sitter.scrapes.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats() -> Seats {
        Seats::new(SelfMetrics::new().unwrap())
    }

    fn peer(n: usize) -> IpAddr {
        IpAddr::from(u32::try_from(0x0a00_0000 + n).unwrap().to_be_bytes())
    }

    fn there(seats: &Seats, seat: &Seat) -> bool {
        seats.taken().seats.contains_key(&seat.number())
    }

    #[test]
    fn nobody_waits_and_the_bounds_hold() {
        let seats = seats();
        let held: Vec<_> = (0..1000).map(|n| seats.take(peer(n % 300))).collect();
        assert_eq!(seats.taken().seats.len(), MAX_CONNECTIONS);
        assert!(there(&seats, held.last().unwrap()));
        assert_eq!(seats.self_metrics.connections_closed_so_far(Closed::Room), 1000 - 128);
        drop(held);
        assert_eq!(seats.taken().seats.len(), 0);
    }

    #[test]
    fn one_address_has_its_share_and_pays_itself() {
        let seats = seats();
        let other = seats.take(peer(1));
        let held: Vec<_> = (0..=MAX_PER_PEER).map(|_| seats.take(peer(2))).collect();
        assert_eq!(seats.taken().seats.len(), MAX_PER_PEER + 1);
        assert!(!there(&seats, &held[0]) && there(&seats, &held[1]) && there(&seats, &other));
    }

    #[test]
    fn the_address_with_most_goes_first_then_who_is_missed_least() {
        let seats = seats();
        let scraper = seats.take(peer(0));
        scraper.idles();
        let heavy: Vec<_> = (0..3).map(|_| seats.take(peer(1))).collect();
        heavy[0].idles();
        let rest: Vec<_> = (2..=MAX_CONNECTIONS - 3).map(|n| seats.take(peer(n))).collect();
        assert_eq!(seats.taken().seats.len(), MAX_CONNECTIONS);
        let _one = seats.take(peer(500));
        assert!(!there(&seats, &heavy[1]), "silent before idle");
        let _two = seats.take(peer(501));
        assert!(!there(&seats, &heavy[2]));
        let _three = seats.take(peer(502));
        assert!(!there(&seats, &rest[0]), "the oldest that never asked");
        assert!(there(&seats, &scraper) && there(&seats, &heavy[0]));
        for seat in &rest {
            seat.idles();
        }
        let _late: Vec<_> = (1000..1000 + 2 * MAX_CONNECTIONS)
            .map(|n| {
                let seat = seats.take(peer(n));
                seat.idles();
                seat
            })
            .collect();
        assert!(there(&seats, &scraper), "a scraper is there before those who only come by");
    }

    #[test]
    fn a_slow_reader_of_texts_makes_room_for_a_new_one() {
        let seats = seats();
        let slow = seats.take(peer(1));
        let texts: Vec<_> = (0..MAX_SCRAPES).map(|_| slow.scrape().unwrap()).collect();
        let scraper = seats.take(peer(2));
        assert!(scraper.scrape().is_some());
        assert!(!there(&seats, &slow));
        assert!(slow.scrape().is_none(), "it was cut");
        drop(texts);
        assert_eq!(seats.taken().seats.len(), 1);
    }
}

//! The open connections, and which one is closed when there are too many: never the new one, always
//! one of the address that has the most.
//!
//! Probes must be answered regardless of other clients of this port, and a probe cannot be told
//! from a silent client before it sends its request. So a new connection never waits: the address
//! with the most connections loses one instead. The first choice is the oldest that has not sent a
//! request, since a probe sends its request at once; then the newest that waits between two
//! requests, since a scraper keeps its connection; then the one that has read its response for the
//! longest time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use ephemon_base::lock;
use ephemon_self_metrics::{Closed, SelfMetrics};
use tokio::task::AbortHandle;

/// Most open connections.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// Most open connections of one address.
pub(super) const MAX_PER_PEER: usize = 32;

/// Most responses to scrapes that are in memory at once; slow clients hold them longest.
pub(super) const MAX_SCRAPES: usize = 16;

/// The open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    self_metrics: SelfMetrics,
}

/// One connection's entry, removed when its last clone is dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seat(Arc<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    peer: IpAddr,
    seats: Seats,
}

/// The permit to hold one scrape's response in memory.
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
    /// Responses that the client has not read completely.
    scrapes: usize,
    task: Option<AbortHandle>,
}

/// In the order in which connections are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// It has not sent a request yet.
    Silent,
    /// It got its response and may send another request.
    Idle,
    /// It is reading a response.
    Reading,
}

// === impl Seats ===

impl Seats {
    pub(super) fn new(self_metrics: SelfMetrics) -> Self {
        Self { taken: Arc::default(), self_metrics }
    }

    /// Adds a connection, and closes another one if there are too many.
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

    /// Counts a connection that was closed before its client was done.
    pub(super) fn closed(&self, why: Closed) {
        self.self_metrics.connection_closed(why);
    }

    fn cut(&self, sitter: Option<Sitter>) {
        if let Some(sitter) = sitter {
            tracing::debug!(peer = %sitter.peer, doing = ?sitter.doing, "connection closed to make room for another client");
            self.closed(Closed::Room);
            if let Some(task) = sitter.task {
                task.abort();
            }
        }
    }

    /// Entries are always complete, so the data is valid even after a panic of another thread.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

// === impl Taken ===

impl Taken {
    /// Removes the connection that must be closed before this address may open another.
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

    /// Of the address with the greatest weight, the connection that is first in the closing order.
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
    /// A number that is unique among all connections.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// The client's address as the limits count it.
    pub(super) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Sets the task that serves this connection, to be aborted when it is closed. If it was closed
    /// before, the task is aborted now.
    pub(super) fn served_by(&self, task: AbortHandle) {
        match self.0.seats.taken().seats.get_mut(&self.0.number) {
            Some(sitter) => sitter.task = Some(task),
            None => task.abort(),
        }
    }

    /// The client has sent a request and reads the response.
    pub(super) fn reads(&self) {
        self.does(Doing::Reading);
    }

    /// The client has its response and may send another request.
    pub(super) fn idles(&self) {
        self.does(Doing::Idle);
    }

    /// A permit for a response. If none is left, the address with the most loses its oldest one,
    /// which is the slowest to be read: a response normally takes milliseconds. Returns nothing for
    /// a connection that was closed.
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

    /// Counts a connection that was closed before its client was done.
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

//! The stream of changes of the job page (`text/event-stream`, HTML standard, "Server-sent events").
//!
//! Nothing is queued for a client: when it can take more, it is sent what is so now. So a slow client
//! holds no memory; one that stops reading is closed by `wire`. A stream ends by itself before the
//! time limit of a response, and the client asks again, with its password if there is one.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use ephemon_model::PodUid;
use ephemon_page::{Cursors, Page};
use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::places::Place;

/// Most clients at once.
pub(super) const MAX_CLIENTS: usize = 16;
/// How often is looked for changes while a client follows them, and the shortest time between two
/// events.
const TICK: Duration = Duration::from_secs(1);
/// Ticks without a change after which a comment is sent, so that the connection counts as alive.
const HEARTBEAT_TICKS: u32 = 15;
/// How long a stream lasts: less than `wire` waits for a response to be read.
const LIFE: Duration = Duration::from_secs(45);
/// What a browser waits before it asks again, milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// One client's stream.
#[derive(Debug)]
pub(super) struct Events {
    page: Page,
    job: Option<PodUid>,
    /// What the client was sent last; nothing yet.
    sent: Option<Cursors>,
    tick: Interval,
    quiet_ticks: u32,
    ends: Instant,
    /// True once the agent stops.
    ending: watch::Receiver<bool>,
    /// The place among all clients.
    _place: Place,
}

// === impl Events ===

impl Events {
    /// A stream for the client that has this place.
    pub(super) fn new(
        page: &Page,
        job: Option<PodUid>,
        place: Place,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self::every(TICK, page, job, place, ending)
    }

    fn every(
        tick: Duration,
        page: &Page,
        job: Option<PodUid>,
        place: Place,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let now = Instant::now();
        let mut tick = interval_at(now + tick, tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            page: page.clone(),
            job,
            sent: None,
            tick,
            quiet_ticks: 0,
            ends: now + LIFE,
            ending,
            _place: place,
        }
    }

    /// The next piece of the stream; `None` at its end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.sent.is_none() {
            let cursors = self.page.cursors(self.job.as_ref());
            self.sent = Some(cursors);
            return Poll::Ready(Some(format!("{RETRY}{}", cursors.event()).into()));
        }
        loop {
            ready!(self.tick.poll_tick(cx));
            if *self.ending.borrow() || Instant::now() >= self.ends {
                return Poll::Ready(None);
            }
            let cursors = self.page.cursors(self.job.as_ref());
            if self.sent != Some(cursors) {
                (self.sent, self.quiet_ticks) = (Some(cursors), 0);
                return Poll::Ready(Some(cursors.event().into()));
            }
            self.quiet_ticks += 1;
            if self.quiet_ticks >= HEARTBEAT_TICKS {
                self.quiet_ticks = 0;
                return Poll::Ready(Some(Bytes::from_static(b": nothing new\n\n")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::IpAddr;
    use std::sync::Arc;

    use ephemon_jobs::story::Story;
    use ephemon_page::Board;

    use super::*;
    use crate::admin::places::Places;
    use crate::page::page_of;

    async fn next(events: &mut Events) -> Option<String> {
        let piece = poll_fn(|cx| events.poll_next(cx)).await?;
        Some(String::from_utf8(piece.to_vec()).unwrap())
    }

    struct Rig {
        page: Page,
        board: Board,
        places: Places,
        ending_tx: watch::Sender<bool>,
    }

    fn rig() -> Rig {
        let board = Board::default();
        let (ending_tx, _) = watch::channel(false);
        let places = Places::new(2, 2);
        Rig { page: page_of(board.clone()), board, places, ending_tx }
    }

    impl Rig {
        fn events(&self) -> Option<Events> {
            let tick = Duration::from_millis(2);
            let place = self.places.try_take(IpAddr::from([10, 0, 0, 1]))?;
            Some(Events::every(tick, &self.page, None, place, self.ending_tx.subscribe()))
        }
    }

    #[tokio::test]
    async fn a_client_hears_how_things_are_then_of_each_change_and_else_a_heartbeat() {
        let rig = rig();
        let mut events = rig.events().unwrap();
        let first = next(&mut events).await.unwrap();
        assert!(
            first.starts_with("retry: ") && first.contains("event: change\ndata: {"),
            "{first}"
        );
        assert_eq!(next(&mut events).await.unwrap(), ": nothing new\n\n");
        let job = Story::whole().job_evidence().job(None).unwrap();
        rig.board.put(Arc::new(job), 1);
        let change = next(&mut events).await.unwrap();
        assert!(change.starts_with("event: change\n"), "{change}");
        assert!(!first.ends_with(&change), "its numbers are others");
    }

    #[tokio::test]
    async fn clients_are_bounded_and_a_stream_ends_with_its_time_or_the_agent() {
        let rig = rig();
        let (mut one, mut two) = (rig.events().unwrap(), rig.events().unwrap());
        assert!(rig.events().is_none());
        assert!(next(&mut one).await.is_some() && next(&mut two).await.is_some());
        one.ends = Instant::now();
        assert_eq!(next(&mut one).await, None);
        drop(one);
        assert!(rig.events().is_some());
        rig.ending_tx.send_replace(true);
        assert_eq!(next(&mut two).await, None);
    }
}

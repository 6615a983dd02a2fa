//! A response body that reports when it was written completely, and the place where it reports
//! this; or one that goes on, as a stream of events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use ephemon_base::lock;
use ephemon_metrics::Receipt;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::events::Events;
use super::places::Place;
use super::seats::{ScrapeRoom, Seat};

/// Responses that hyper has but may not have written yet. One per connection.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    seat: Seat,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// A response was created since the last flush.
    answering: bool,
    taken: Vec<Delivery>,
}

/// What is held for a scrape's response until it is written or abandoned.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) receipt: Option<Receipt>,
    /// The permit to hold a scrape's response in memory.
    pub(super) room: Option<ScrapeRoom>,
    /// What is lent to one answer of a kind at a time.
    pub(super) turn: Option<Place>,
}

/// A text in one frame, whose delivery is added to the outbox with the frame; or events, each in a
/// frame of its own.
#[derive(Debug)]
pub(super) struct Text {
    content: Content,
    delivery: Option<(Delivery, Outbox)>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Events(Option<Box<Events>>),
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn new(seat: Seat) -> Self {
        Self { seat, pending: Arc::default() }
    }

    /// The connection's entry among all connections.
    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Notes that a response was created and will be written.
    pub(super) fn answers(&self) {
        self.pending().answering = true;
        self.seat.reads();
    }

    pub(super) fn is_answering(&self) -> bool {
        self.pending().answering
    }

    fn put(&self, delivery: Delivery) {
        self.pending().taken.push(delivery);
    }

    /// Everything created so far is in the kernel's buffers. Returns whether there was anything.
    pub(super) fn confirm(&self) -> bool {
        let Pending { answering, taken } = std::mem::take(&mut *self.pending());
        for Delivery { receipt, room, turn } in taken {
            if let Some(receipt) = receipt {
                receipt.confirm();
            }
            drop((room, turn));
        }
        if answering {
            self.seat.idles();
        }
        answering
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }
}

// === impl Text ===

impl Text {
    pub(super) fn new(text: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(text.into())), delivery: None }
    }

    pub(super) fn delivered(text: Bytes, delivery: Delivery, outbox: &Outbox) -> Self {
        let delivery = Some((delivery, outbox.clone()));
        Self { content: Content::Whole(Some(text)), delivery }
    }

    pub(super) fn events(events: Events) -> Self {
        Self { content: Content::Events(Some(Box::new(events))), delivery: None }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((delivery, outbox)) = self.delivery.take() {
            outbox.put(delivery);
        }
        let text = match &mut self.content {
            Content::Whole(text) => text.take(),
            Content::Events(None) => None,
            Content::Events(Some(events)) => {
                let next = ready!(events.poll_next(cx));
                if next.is_none() {
                    // What it holds is free for the next client.
                    self.content = Content::Events(None);
                }
                next
            }
        };
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None) | Content::Events(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Events(_) => SizeHint::default(),
        }
    }
}

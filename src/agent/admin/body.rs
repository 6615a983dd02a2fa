//! A body that tells when it was taken to its end, and the place where it tells so.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::metrics::Receipt;

/// Deliveries that hyper has taken but may not have written yet. One outbox a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Vec<Delivery>>>);

/// What hangs on a scrape's text until it is written out or given up.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) receipt: Option<Receipt>,
    /// Room for the text in memory.
    pub(super) slot: OwnedSemaphorePermit,
}

/// A text in one frame. Its delivery goes to the outbox with the frame, or nowhere.
#[derive(Debug)]
pub(super) struct Text {
    text: Option<Bytes>,
    delivery: Option<(Delivery, Outbox)>,
}

// === impl Outbox ===

impl Outbox {
    fn put(&self, delivery: Delivery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    }

    /// Everything taken so far is with the kernel.
    pub(super) fn confirm(&self) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for Delivery { receipt, slot } in taken {
            if let Some(receipt) = receipt {
                receipt.confirm();
            }
            drop(slot);
        }
    }
}

// === impl Text ===

impl Text {
    pub(super) fn new(text: impl Into<Bytes>) -> Self {
        Self { text: Some(text.into()), delivery: None }
    }

    pub(super) fn delivered(text: Bytes, delivery: Delivery, outbox: &Outbox) -> Self {
        Self { text: Some(text), delivery: Some((delivery, outbox.clone())) }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((delivery, outbox)) = self.delivery.take() {
            outbox.put(delivery);
        }
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}

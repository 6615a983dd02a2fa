//! A body that tells when it was taken to its end, and the place where it tells so.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::metrics::Receipt;

/// Receipts of bodies that hyper has taken but may not have written yet. One a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Vec<Receipt>>>);

/// A text in one frame. Its receipt goes to the outbox with the frame, or nowhere.
#[derive(Debug)]
pub(super) struct Text {
    text: Option<Bytes>,
    told: Option<(Receipt, Outbox)>,
}

// === impl Outbox ===

impl Outbox {
    fn put(&self, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// Everything taken so far is with the kernel.
    pub(super) fn confirm(&self) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for receipt in taken {
            receipt.confirm();
        }
    }
}

// === impl Text ===

impl Text {
    pub(super) fn new(text: impl Into<Bytes>) -> Self {
        Self { text: Some(text.into()), told: None }
    }

    pub(super) fn with_receipt(text: Bytes, receipt: Option<Receipt>, outbox: &Outbox) -> Self {
        Self { text: Some(text), told: receipt.map(|receipt| (receipt, outbox.clone())) }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((receipt, outbox)) = self.told.take() {
            outbox.put(receipt);
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

//! Spans that have ended and are not sent yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Most spans that wait; a call has some tens.
const MOST: usize = 1024;

/// A bounded queue. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<SpanData>,
    dropped: u64,
}

// === impl Outbox ===

impl Outbox {
    /// All that waits, and how many had no room since the beginning.
    pub(super) fn take(&self) -> (Vec<SpanData>, u64) {
        let mut waiting = self.lock();
        (std::mem::take(&mut waiting.spans), waiting.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for Outbox {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut waiting = self.lock();
        if !span.span_context.is_sampled() {
            return;
        }
        if waiting.spans.len() < MOST {
            waiting.spans.push(span);
        } else {
            waiting.dropped = waiting.dropped.saturating_add(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

//! Finished spans of a program's own work that are not exported yet, for hook and agent.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ephemon_base::lock;
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// A bounded queue. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SpanBuffer(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<SpanData>,
    dropped: u64,
}

// === impl SpanBuffer ===

impl SpanBuffer {
    /// Most spans in the buffer; a call of the hook has several tens, the agent a few per second.
    pub const MOST: usize = 1024;

    /// Removes all spans; also returns how many were dropped since the start because the buffer was
    /// full.
    pub fn take(&self) -> (Vec<SpanData>, u64) {
        let mut waiting = self.lock();
        (std::mem::take(&mut waiting.spans), waiting.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }
}

impl SpanProcessor for SpanBuffer {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.spans.len() < Self::MOST {
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

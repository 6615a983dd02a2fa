//! Records on their way: the batch being packed, those handed over and not yet acknowledged, and
//! how far each log may be called delivered when one is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_crilog::{LogId, Position};
use ephemon_export::{Fate, Payload, Receipt};
use ephemon_otlp::{Batch, Entry, LogEnd, Resource};

/// A batch is handed over at this size, encoded: collectors take 4 MiB over gRPC by default.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// And after this time, however small.
const BATCH_AGE_MAX: Duration = Duration::from_millis(500);

/// The batch being packed.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    batch: Batch,
    upto: HashMap<LogId, Position>,
    /// The last line's, which the next one of the same log takes the place of.
    last: Option<Position>,
    since: Option<Instant>,
}

/// A packed one: the request, and what of which log is delivered with it.
#[derive(Debug)]
pub(super) struct LogBatch {
    pub(super) payload: Payload,
    pub(super) upto: Vec<Position>,
}

/// One handed over.
#[derive(Debug)]
pub(super) struct SentBatch {
    batch: LogBatch,
    receipt: Receipt,
}

/// What has come of one that was handed over.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) fate: Fate,
    pub(super) batch: LogBatch,
}

/// Those handed over, in order.
#[derive(Debug, Default)]
pub(super) struct InFlight(Vec<SentBatch>);

// === impl BatchBuilder ===

impl BatchBuilder {
    /// Adds a record, and with it the log up to its end.
    pub(super) fn add(
        &mut self,
        resource: &Arc<Resource>,
        entry: &Entry<'_>,
        position: Position,
        now: Instant,
    ) {
        self.batch.push(resource, entry);
        self.passed(position, now);
    }

    /// Adds the event that closes a log.
    pub(super) fn close(&mut self, resource: &Arc<Resource>, end: &LogEnd, now: Instant) {
        self.batch.push_end(resource, end);
        self.since.get_or_insert(now);
    }

    /// The log is dealt with up to there without a record.
    pub(super) fn passed(&mut self, position: Position, now: Instant) {
        if let Some(last) = self.last.replace(position)
            && self.last.as_ref().is_some_and(|position| position.log() != last.log())
        {
            self.upto.insert(last.log(), last);
        }
        self.since.get_or_insert(now);
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.encoded_len() >= BATCH_BYTES_MAX
    }

    pub(super) fn is_ripe(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= BATCH_AGE_MAX)
    }

    /// Whether there is anything in it.
    pub(super) fn is_ripening(&self) -> bool {
        self.since.is_some()
    }

    /// Takes out what is packed; `None` where there is nothing. One without records is delivered
    /// as it is.
    pub(super) fn seal(&mut self) -> Option<LogBatch> {
        self.since.take()?;
        let items = u64::try_from(self.batch.records()).unwrap_or(u64::MAX);
        let body = self.batch.finish().into();
        let mut upto = std::mem::take(&mut self.upto);
        upto.extend(self.last.take().map(|last| (last.log(), last)));
        let upto = upto.into_values().collect();
        Some(LogBatch { payload: Payload { body, items }, upto })
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn add(&mut self, batch: LogBatch, receipt: Receipt) {
        self.0.push(SentBatch { batch, receipt });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets one without records wait for the last handed over; gives it back where there is none.
    pub(super) fn defer(&mut self, batch: LogBatch) -> Option<LogBatch> {
        match self.0.last_mut() {
            Some(last) => {
                last.batch.upto.extend(batch.upto);
                None
            }
            None => Some(batch),
        }
    }

    /// Those that something has come of, in order, up to the first of which nothing is known yet: a log
    /// is delivered up to a batch's end only if all before it is.
    pub(super) fn answered(&mut self) -> Vec<Answered> {
        let mut answered = Vec::new();
        let mut all = std::mem::take(&mut self.0).into_iter();
        for mut sent in all.by_ref() {
            if let Some(fate) = sent.receipt.try_fate() {
                answered.push(Answered { fate, batch: sent.batch });
            } else {
                self.0.push(sent);
                break;
            }
        }
        self.0.extend(all);
        answered
    }
}

#[cfg(test)]
mod tests {
    use ephemon_export::{Destination, Options, Sender};
    use ephemon_otel::Signal;
    use ephemon_self_metrics::SelfMetrics;

    use super::*;

    #[test]
    fn what_is_answered_waits_for_what_was_handed_over_before_it() {
        let payload = |items| Payload { body: vec![1].into(), items };
        let destination = Destination::writer(Signal::Logs, Box::new(std::io::sink()));
        let self_metrics = SelfMetrics::new().unwrap();
        let (outbox, sender) = Sender::new(destination, None, Options::default(), self_metrics);
        let batch = |items| LogBatch { payload: payload(items), upto: Vec::new() };
        let mut in_flight = InFlight::default();
        // Being sent, while what comes after it is in the spool already.
        in_flight.add(batch(1), outbox.offer(payload(1)).unwrap());
        in_flight.add(batch(2), Receipt::settled(Fate::Spooled));
        assert!(in_flight.answered().is_empty());
        drop((sender, outbox));
        let answered = in_flight.answered();
        let items: Vec<_> = answered.iter().map(|answered| answered.batch.payload.items).collect();
        assert_eq!(items, [1, 2]);
        assert!(in_flight.is_empty());
    }
}

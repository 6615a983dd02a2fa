//! One payload until its fate is known, or until it has to wait: split, dropped and counted.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ephemon_self_metrics::{Exported, Reason};

use super::Sender;
use super::complaint::Kind;
use crate::destination::Answer;
use crate::payload::Payload;
use crate::split;
use crate::undelivered::Undelivered;

/// After so many denials of a request in a row, and again after as many.
const DENIALS_BEFORE_PROBE: u32 = 3;

// === impl Sender ===

impl Sender {
    /// Sends it until nothing of it is left, or until the collector takes nothing now: then the answer
    /// that says so.
    pub(super) async fn deliver(&mut self, rest: &mut Undelivered) -> Option<Answer> {
        while let Some(piece) = rest.pieces.pop() {
            match self.destination.attempt(&piece.body).await {
                Answer::Accepted { rejected, remark } => {
                    self.recovered();
                    self.accepted(&piece, rejected, remark.as_deref());
                    rest.is_taken |= rejected < piece.items.max(1);
                    if rejected > 0 {
                        rest.lose(Reason::Refused);
                    }
                }
                Answer::Denied { reason } if self.denies_only_this(&mut rest.denials).await => {
                    self.recovered();
                    self.give_up(&piece, Reason::Refused, &reason);
                    rest.lose(Reason::Refused);
                }
                answer @ (Answer::Retry { .. } | Answer::Denied { .. }) => {
                    rest.pieces.push(piece);
                    return Some(answer);
                }
                Answer::TooLarge { reason } => {
                    self.recovered();
                    if let Some((first, second)) = split::halves(self.shared.signal, &piece) {
                        self.count(Exported::Split);
                        rest.pieces.push(second);
                        rest.pieces.push(first);
                    } else {
                        self.give_up(&piece, Reason::TooLarge, &reason);
                        rest.lose(Reason::TooLarge);
                    }
                }
                Answer::Refused { reason } => {
                    self.recovered();
                    self.give_up(&piece, Reason::Refused, &reason);
                    rest.lose(Reason::Refused);
                }
            }
        }
        None
    }

    /// Counts a denial. Of several in a row it is asked whether the credentials are at fault, or this one
    /// request, as where a firewall dislikes what is in it: a request with nothing in it is sent. One that
    /// is taken says that the credentials are good, and nothing behind the denied one is to wait for it.
    async fn denies_only_this(&mut self, denials: &mut u32) -> bool {
        *denials = denials.saturating_add(1);
        if !denials.is_multiple_of(DENIALS_BEFORE_PROBE) {
            return false;
        }
        matches!(self.destination.attempt(&Bytes::new()).await, Answer::Accepted { .. })
    }

    /// Waits until the next attempt, or until the sender is to close.
    pub(super) async fn put_off(&mut self, answer: Answer) {
        self.shared.failing.store(true, Ordering::Relaxed);
        let (result, kind, after, reason) = match answer {
            Answer::Denied { reason } => (Exported::Denied, Kind::Denied, None, reason),
            Answer::Retry { after, reason } => (Exported::Retried, Kind::Retried, after, reason),
            _ => return,
        };
        self.count(result);
        let wait = self.backoff.next(after, fastrand::f64());
        let what = match kind {
            Kind::Denied => "is denied with the credentials that were sent, and will be",
            _ => "will be",
        };
        self.complain(kind, &format!("{what} sent again in {} ms", wait.as_millis()), &reason);
        let mut closing = self.shared.closing.subscribe();
        let already = *closing.borrow();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // An error means that the sender is gone, which this is a part of.
            changed = closing.wait_for(|closing| *closing), if !already => drop(changed),
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    fn accepted(&mut self, piece: &Payload, rejected: u64, remark: Option<&str>) {
        // A collector that rejects more than it was sent is mistaken.
        let rejected = rejected.min(piece.items);
        if rejected == 0 {
            self.count(Exported::Accepted);
        } else {
            self.count(Exported::Partial);
            let signal = crate::counted(self.shared.signal);
            self.shared.self_metrics.dropped_by(signal, Reason::Refused, rejected);
        }
        if rejected > 0 || remark.is_some() {
            let what = format!("was taken but for {rejected} of its {} items", piece.items);
            self.complain(Kind::Partial, &what, remark.unwrap_or("no reason given"));
        }
    }

    fn give_up(&mut self, piece: &Payload, reason: Reason, why: &str) {
        self.count(Exported::Refused);
        self.shared.self_metrics.dropped_by(
            crate::counted(self.shared.signal),
            reason,
            piece.items,
        );
        let kind = if reason == Reason::TooLarge { Kind::TooLarge } else { Kind::Refused };
        self.complain(kind, &format!("is dropped, {} items", piece.items), why);
    }

    /// The collector answers.
    fn recovered(&mut self) {
        self.backoff.reset();
        if self.shared.failing.swap(false, Ordering::Relaxed) {
            let signal = self.shared.signal.as_str();
            tracing::info!("{} takes {signal} again", self.destination.shown());
        }
    }

    fn complain(&mut self, kind: Kind, what: &str, why: &str) {
        let (signal, to) = (self.shared.signal.as_str(), self.destination.shown());
        self.complaint.say(kind, &format!("a request of {signal} to {to} {what}: {why}"));
    }

    fn count(&self, result: Exported) {
        self.shared.self_metrics.exported(crate::counted(self.shared.signal), result);
    }
}

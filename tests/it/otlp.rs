//! Requests on their way to a collector that refuses, stalls, takes half, dies and comes back.

mod outages;
mod proxies;
mod rig;
mod secure;

use std::time::Duration;

use ephemon_export::Fate;
use ephemon_otel::Signal;
use ephemon_self_metrics::{Exported, Reason};
use tonic::Code;

use crate::support::collector::{Collector, Mood, Wire};
use rig::{Line, numbers, payload, record_number, spans};

const BOTH: [Wire; 2] = [Wire::Grpc, Wire::Http];

fn busy(after: Option<Duration>) -> Mood {
    Mood::Refuse { grpc: Code::Unavailable, http: 503, after }
}

#[tokio::test]
async fn requests_arrive_as_they_were_given_compressed_or_not() {
    for wire in BOTH {
        for gzip in ["none", "gzip"] {
            let collector = Collector::start(wire, None).await;
            let line = Line::to(&collector)
                .set("COMPRESSION", gzip)
                .set("HEADERS", "x-tenant=a%20b,authorization=Bearer%20t");
            let logs = line.start(Signal::Logs);
            let traces = line.start(Signal::Traces);
            assert_eq!(logs.give(payload(1..4)).await, Fate::Acknowledged);
            assert_eq!(traces.give(spans(3)).await, Fate::Acknowledged);
            assert_eq!(numbers(&collector), [1, 2, 3]);
            let scopes = &collector.traces()[0].resource_spans[0].scope_spans;
            assert_eq!(scopes[0].spans.len(), 3);
            for headers in collector.headers() {
                assert_eq!(headers["x-tenant"], "a b");
                assert_eq!(headers["authorization"], "Bearer t");
            }
            let encoded = collector.headers().iter().any(|headers| {
                let names = ["content-encoding", "grpc-encoding"];
                names.iter().any(|name| headers.get(*name).is_some_and(|value| value == "gzip"))
            });
            assert_eq!(encoded, gzip == "gzip", "{wire:?}");
            assert_eq!(logs.exported(Exported::Accepted), 1);
        }
    }
}

#[tokio::test]
async fn a_busy_collector_gets_the_request_again_until_it_takes_it() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        collector.be_next([busy(None), busy(Some(Duration::ZERO))]);
        let line = Line::to(&collector).start(Signal::Logs);
        let receipt = line.outbox.offer(payload(1..2)).unwrap();
        let second = line.outbox.offer(payload(2..3)).unwrap();
        collector.until(|collector| collector.attempts() == 2).await;
        assert!(line.outbox.is_failing());
        assert_eq!((receipt.await, second.await), (Fate::Acknowledged, Fate::Acknowledged));
        assert!(!line.outbox.is_failing());
        assert_eq!(numbers(&collector), [1, 2]);
        assert_eq!((line.exported(Exported::Retried), collector.attempts()), (2, 4));
    }
}

#[tokio::test]
async fn what_a_collector_will_never_take_is_dropped_and_counted() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        collector.be_next([Mood::Refuse { grpc: Code::InvalidArgument, http: 400, after: None }]);
        let line = Line::to(&collector).start(Signal::Logs);
        let refused = line.outbox.offer(payload(1..4)).unwrap();
        let taken = line.outbox.offer(payload(4..5)).unwrap();
        assert_eq!(refused.await, Fate::Dropped(Reason::Refused));
        assert_eq!(taken.await, Fate::Acknowledged);
        assert_eq!((numbers(&collector), line.dropped(Reason::Refused)), (vec![4], 3));
        assert_eq!(line.exported(Exported::Refused), 1);
    }
}

#[tokio::test]
async fn what_is_denied_for_want_of_valid_credentials_waits_for_them() {
    for wire in BOTH {
        for (grpc, http) in [(Code::Unauthenticated, 401), (Code::PermissionDenied, 403)] {
            let collector = Collector::start(wire, None).await;
            let denied = Mood::Refuse { grpc, http, after: None };
            collector.be_next([denied.clone(), denied]);
            let line = Line::to(&collector).start(Signal::Logs);
            assert_eq!(line.give(payload(1..4)).await, Fate::Acknowledged);
            assert_eq!((numbers(&collector), line.dropped(Reason::Refused)), (vec![1, 2, 3], 0));
            assert_eq!((line.exported(Exported::Denied), line.exported(Exported::Retried)), (2, 0));
        }
    }
}

#[tokio::test]
async fn one_request_that_is_denied_where_others_are_taken_holds_up_nothing() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let denied = Mood::Refuse { grpc: Code::PermissionDenied, http: 403, after: None };
        // Denied again while the credentials are denied, too; taken is then the request without items.
        collector.be_next(vec![denied; 5].into_iter().chain([busy(None)]));
        let line = Line::to(&collector).start(Signal::Logs);
        let waits = line.outbox.offer(payload(1..4)).unwrap();
        let next = line.outbox.offer(payload(4..5)).unwrap();
        assert_eq!((waits.await, next.await), (Fate::Acknowledged, Fate::Acknowledged));
        let denied = Mood::Refuse { grpc: Code::PermissionDenied, http: 403, after: None };
        collector.be_next(vec![denied; 3]);
        let refused = line.outbox.offer(payload(5..8)).unwrap();
        let next = line.outbox.offer(payload(8..9)).unwrap();
        assert_eq!(refused.await, Fate::Dropped(Reason::Refused));
        assert_eq!((next.await, line.dropped(Reason::Refused)), (Fate::Acknowledged, 3));
        assert_eq!(numbers(&collector), [1, 2, 3, 4, 8]);
    }
}

#[tokio::test]
async fn items_that_a_collector_rejects_are_counted_and_not_sent_again() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        collector.be_next([Mood::Partial(2), Mood::Partial(i64::MAX), Mood::Partial(-1)]);
        let line = Line::to(&collector).start(Signal::Traces);
        let mut fates = Vec::new();
        for _ in 0..3 {
            fates.push(line.give(spans(5)).await);
        }
        assert_eq!(fates, [Fate::Partly, Fate::Dropped(Reason::Refused), Fate::Acknowledged]);
        // More than was sent, and fewer than none, are the collector's mistakes.
        assert_eq!((line.dropped(Reason::Refused), line.exported(Exported::Partial)), (7, 2));
        assert_eq!((line.exported(Exported::Accepted), collector.attempts()), (1, 3));
    }
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_halves_and_a_single_giant_is_dropped() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let one = payload(1..2).body.len();
        collector.be(Mood::AtMost(one * 2));
        let line = Line::to(&collector).start(Signal::Logs);
        let giant = rig::giant(1..12, 5, one * 3);
        assert_eq!(line.give(giant).await, Fate::Partly);
        assert_eq!(numbers(&collector), [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
        assert_eq!(line.dropped(Reason::TooLarge), 1);
        assert!(line.exported(Exported::Split) >= 4);
        assert_eq!(line.give(rig::giant(1..2, 1, one * 3)).await, Fate::Dropped(Reason::TooLarge));
    }
}

/// gRPC servers take 4 MiB unless they are told otherwise.
#[tokio::test]
async fn what_no_server_takes_is_not_sent() {
    let collector = Collector::start(Wire::Grpc, None).await;
    let line = Line::to(&collector).start(Signal::Logs);
    let fate = line.give(rig::large(10, 1 << 20)).await;
    assert_eq!((fate, collector.attempts()), (Fate::Dropped(Reason::TooLarge), 0));
    assert_eq!(line.give(rig::large(3, 1 << 20)).await, Fate::Acknowledged);
    assert_eq!((numbers(&collector), collector.logs().len()), (vec![0, 1, 2], 1));
}

#[tokio::test]
async fn a_silent_collector_costs_one_attempt_at_a_time_and_no_more_memory_than_the_bound() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        collector.be(Mood::Stall);
        let line = Line::to(&collector).set("TIMEOUT", "200").queue(64 << 10).start(Signal::Logs);
        let mut receipts = Vec::new();
        let mut held = 0;
        let returned = loop {
            let payload = rig::large(1, 10 << 10);
            let size = payload.body.len();
            match line.outbox.offer(payload) {
                Ok(receipt) => receipts.push(receipt),
                Err(returned) => break returned,
            }
            held += size;
            assert!(held <= 64 << 10);
        };
        assert!(line.outbox.pressure() > 0.8);
        collector.until(|collector| collector.attempts() >= 2).await;
        assert!(line.outbox.is_failing());
        assert!(line.outbox.offer(returned).is_err(), "nothing was taken, so there is no room");
        collector.be(Mood::Accept);
        let given = receipts.len() as u64;
        for receipt in receipts {
            assert_eq!(receipt.await, Fate::Acknowledged);
        }
        // What was taken and answered after the timeout is sent again, and counted as such.
        let (came, again) = (collector.logs().len() as u64, line.exported(Exported::Retried));
        assert!((given..=given + again).contains(&came), "{came} of {given}, {again} again");
        assert!(line.outbox.pressure() < 0.01);
    }
}

#[tokio::test]
async fn every_signal_has_its_own_way() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let line = Line::to(&collector);
        let metrics = line.start(Signal::Metrics);
        assert_eq!(metrics.give(rig::points(4)).await, Fate::Acknowledged);
        let got = collector.metrics();
        assert_eq!(got[0].resource_metrics[0].scope_metrics[0].metrics.len(), 1);
        assert_eq!(record_number(&collector.logs()), Vec::<u64>::new());
    }
}

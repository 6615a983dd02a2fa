//! A collector that is away, and a sender that ends or is killed in the meantime.

use std::time::Duration;

use ephemon_export::Fate;
use ephemon_otel::Signal;
use ephemon_self_metrics::Reason;
use tokio::task::JoinSet;

use super::BOTH;
use super::rig::{Line, numbers, payload};
use crate::support::collector::{Collector, Mood};

#[tokio::test]
async fn an_outage_and_a_restart_lose_nothing_and_keep_the_order() {
    for wire in BOTH {
        let home = tempfile::tempdir().unwrap();
        let mut collector = Collector::start(wire, None).await;
        let line = Line::to(&collector).spool(home.path());
        let first = line.start(Signal::Logs);
        assert_eq!(first.give(payload(0..1)).await, Fate::Acknowledged);
        collector.die().await;

        let offered = first.outbox.offer(payload(1..2)).unwrap();
        for number in 2..50 {
            first.outbox.keep(&payload(number..number + 1)).unwrap();
        }
        let last = first.outbox.offer(payload(50..51)).unwrap();
        first.stop().await;
        assert_eq!((offered.await, last.await), (Fate::Spooled, Fate::Spooled));

        // Still away: what was kept stays, and more comes.
        let second = line.start(Signal::Logs);
        second.outbox.keep(&payload(51..52)).unwrap();
        second.kill().await;

        let third = line.start(Signal::Logs);
        let offered = third.outbox.offer(payload(52..53)).unwrap();
        collector.revive().await;
        assert_eq!(offered.await, Fate::Acknowledged);
        // What was offered before the end was put away at the end, behind what was kept.
        let mut expected = vec![0];
        expected.extend(2..50);
        expected.extend([1, 50, 51, 52]);
        assert_eq!(numbers(&collector), expected);
        third.stop().await;

        let fourth = line.start(Signal::Logs);
        assert_eq!(fourth.give(payload(53..54)).await, Fate::Acknowledged);
        assert_eq!(numbers(&collector).last(), Some(&53), "nothing is sent twice");
        assert_eq!(numbers(&collector).len(), expected.len() + 1);
    }
}

#[tokio::test]
async fn a_collector_that_dies_in_mid_stream_gets_the_rest_when_it_is_back() {
    for wire in BOTH {
        let mut collector = Collector::start(wire, None).await;
        let line = Line::to(&collector).start(Signal::Logs);
        let mut receipts = JoinSet::new();
        for number in 0..20 {
            receipts.spawn(line.outbox.offer(payload(number..number + 1)).unwrap());
        }
        collector.until(|collector| collector.attempts() >= 3).await;
        collector.die().await;
        collector.revive().await;
        while let Some(fate) = receipts.join_next().await {
            assert_eq!(fate.unwrap(), Fate::Acknowledged);
        }
        let mut got = numbers(&collector);
        assert!(got.is_sorted());
        // One may have been taken and its answer lost.
        got.dedup();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_was_kept_in_an_outage_goes_out_when_the_collector_is_back() {
    for wire in BOTH {
        let home = tempfile::tempdir().unwrap();
        let collector = Collector::start(wire, None).await;
        collector.be(super::busy(None));
        let line = Line::to(&collector).spool(home.path()).start(Signal::Logs);
        let first = line.outbox.offer(payload(0..1)).unwrap();
        line.outbox.keep(&payload(1..2)).unwrap();
        let last = line.outbox.offer(payload(2..3)).unwrap();
        collector.until(|collector| collector.attempts() >= 1).await;
        collector.be(Mood::Accept);
        assert_eq!((first.await, last.await), (Fate::Acknowledged, Fate::Acknowledged));
        assert_eq!(numbers(&collector), [0, 1, 2]);
        line.stop().await;
    }
}

#[tokio::test]
async fn the_end_waits_for_a_slow_collector_for_a_bounded_time_only() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        collector.be(Mood::Stall);
        let line = Line::to(&collector).drain(Duration::from_millis(100)).start(Signal::Logs);
        let receipt = line.outbox.offer(payload(0..3)).unwrap();
        collector.until(|collector| collector.attempts() == 1).await;
        let outbox = line.outbox.clone();
        line.stop().await;
        assert_eq!(receipt.await, Fate::Dropped(Reason::Shutdown));
        assert!(outbox.offer(payload(3..4)).is_err());
    }
}

#[tokio::test]
async fn the_end_delivers_what_is_in_memory() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let line = Line::to(&collector).start(Signal::Logs);
        let receipts: Vec<_> =
            (0..50).map(|number| line.outbox.offer(payload(number..number + 1)).unwrap()).collect();
        line.stop().await;
        for receipt in receipts {
            assert_eq!(receipt.await, Fate::Acknowledged);
        }
        assert_eq!(numbers(&collector), (0..50).collect::<Vec<_>>());
    }
}

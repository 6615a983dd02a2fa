//! Windows, one after the other.

use opentelemetry_proto::tonic::metrics::v1::{Gauge, Histogram, Sum};
use proptest::prelude::*;

use super::*;

const OWNER: &str = "container";

fn sum(value: i64, (began, at): (u64, u64), is_monotonic: bool) -> Metric {
    let point = NumberDataPoint {
        start_time_unix_nano: began,
        time_unix_nano: at,
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic };
    Metric { name: "m".to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() }
}

/// Value, start, end and temporality of the only point.
fn shown(metrics: &[Metric]) -> Option<(i64, u64, u64, i32)> {
    let [metric] = metrics else { return None };
    let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    let [point] = &sum.data_points[..] else { panic!("{sum:?}") };
    let Some(Number::AsInt(value)) = point.value else { panic!("{point:?}") };
    let (start, end) = (point.start_time_unix_nano, point.time_unix_nano);
    Some((value, start, end, sum.aggregation_temporality))
}

fn sent(windows: &mut Windows, value: i64, times: (u64, u64)) -> Option<(i64, u64, u64, i32)> {
    let (metrics, staged) = windows.deltas(OWNER, vec![sum(value, times, true)]);
    windows.commit(vec![staged]);
    shown(&metrics)
}

#[test]
fn each_window_begins_where_the_one_before_ended_and_nothing_new_is_none() {
    let mut windows = Windows::default();
    assert_eq!(sent(&mut windows, 5, (10, 20)), Some((5, 10, 20, 1)), "from its birth");
    assert_eq!(sent(&mut windows, 7, (10, 30)), Some((2, 20, 30, 1)));
    assert_eq!(sent(&mut windows, 7, (10, 40)), None, "nothing has come");
    assert_eq!(sent(&mut windows, 9, (10, 30)), None, "nothing was read since");
    assert_eq!(sent(&mut windows, 8, (10, 50)), Some((1, 30, 50, 1)), "the window went on");
    assert_eq!(sent(&mut windows, 3, (55, 60)), Some((3, 55, 60, 1)), "counted anew");
}

#[test]
fn a_clock_that_is_set_back_costs_nothing_and_an_older_reading_counts_nothing() {
    let mut windows = Windows::default();
    sent(&mut windows, 5, (10, 100));
    assert_eq!(sent(&mut windows, 9, (10, 50)), Some((4, 50, 50, 1)), "counted after it");
    assert_eq!(sent(&mut windows, 12, (10, 80)), Some((3, 50, 80, 1)));
    assert_eq!(sent(&mut windows, 11, (10, 70)), None, "read before");
    assert_eq!(sent(&mut windows, 13, (10, 90)), Some((1, 80, 90, 1)));
}

#[test]
fn a_name_that_expired_and_comes_back_counts_from_its_own_beginning() {
    let mut windows = Windows::default();
    sent(&mut windows, 5, (10, 20));
    assert_eq!(sent(&mut windows, 5, (30, 40)), Some((5, 30, 40, 1)), "as many as before");
    sent(&mut windows, 6, (30, 50));
    assert_eq!(sent(&mut windows, 8, (60, 70)), Some((8, 60, 70, 1)), "more than before");
}

#[test]
fn series_that_were_not_sent_for_long_make_room() {
    let mut windows = Windows::default();
    let point = |number: usize| {
        let mut metric = sum(1, (10, 20 + number as u64), true);
        metric.name = format!("m{number}");
        metric
    };
    for number in 0..SERIES_MAX + 10 {
        let (_, staged) = windows.deltas(OWNER, vec![point(number)]);
        windows.commit(vec![staged]);
    }
    let series = &windows.owners[OWNER];
    assert_eq!(series.len(), SERIES_MAX);
    assert!(!series.contains_key("m9") && series.contains_key("m10"));
}

proptest! {
    /// As decimal text some come back a little smaller, and would look like counters that were reset.
    #[test]
    fn sums_outlive_a_restart_to_the_last_bit(value in 0.0..1e18_f64) {
        let counted = [Counted::Double(value), Counted::Histogram { sum: value, buckets: vec![1] }];
        for counted in counted {
            let last = Last { at_ns: 1, counted };
            let text = serde_json::to_string(&last).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Last>(&text).unwrap(), &last);
        }
    }
}

#[test]
fn a_window_that_nobody_took_is_sent_with_the_next_one() {
    let mut windows = Windows::default();
    sent(&mut windows, 5, (10, 20));
    let before = windows.clone();
    let (metrics, staged) = windows.deltas(OWNER, vec![sum(7, (10, 30), true)]);
    assert_eq!(shown(&metrics), Some((2, 20, 30, 1)));
    let undo = windows.commit(vec![staged]);
    assert_ne!(windows, before);
    windows.revert(undo);
    assert_eq!(windows, before);
    assert_eq!(sent(&mut windows, 9, (10, 40)), Some((4, 20, 40, 1)));
    // The first of all, too.
    let mut windows = Windows::default();
    let (_, staged) = windows.deltas(OWNER, vec![sum(5, (10, 20), true)]);
    let undo = windows.commit(vec![staged]);
    windows.revert(undo);
    assert_eq!(sent(&mut windows, 6, (10, 30)), Some((6, 10, 30, 1)));
}

#[test]
fn an_agent_goes_on_where_the_one_before_ended_and_guesses_nothing_without_its_word() {
    let mut windows = Windows::default();
    sent(&mut windows, 5, (10, 20));
    let kept = serde_json::to_string(&windows).unwrap();
    let mut next = serde_json::from_str::<Windows>(&kept).unwrap().recalled();
    assert_eq!(sent(&mut next, 8, (10, 90)), Some((3, 20, 90, 1)));
    // What it left is all there was: others were never sent.
    let (metrics, _) = next.deltas("other", vec![sum(4, (15, 90), true)]);
    assert_eq!(shown(&metrics), Some((4, 15, 90, 1)));

    let mut anew = Windows::beginning(80);
    assert_eq!(sent(&mut anew, 8, (10, 90)), None, "some of it may have been sent");
    assert_eq!(sent(&mut anew, 11, (10, 95)), Some((3, 90, 95, 1)));
    let (metrics, _) = anew.deltas("other", vec![sum(4, (85, 90), true)]);
    assert_eq!(shown(&metrics), Some((4, 85, 90, 1)), "it began after the agent");
}

#[test]
fn what_goes_up_and_down_stays_as_it_is() {
    let windows = Windows::default();
    let gauge = Metric { data: Some(Data::Gauge(Gauge::default())), ..Metric::default() };
    let all = vec![sum(5, (10, 20), false), gauge];
    let (metrics, staged) = windows.deltas(OWNER, all.clone());
    assert_eq!((metrics, staged.is_empty()), (all, true));
}

#[test]
fn histograms_are_deltas_by_bucket() {
    let of = |buckets: &[u64], sum: f64, at: u64| {
        let point = HistogramDataPoint {
            start_time_unix_nano: 10,
            time_unix_nano: at,
            count: buckets.iter().sum(),
            sum: Some(sum),
            bucket_counts: buckets.to_vec(),
            ..HistogramDataPoint::default()
        };
        let data = Histogram { data_points: vec![point], aggregation_temporality: 2 };
        Metric { data: Some(Data::Histogram(data)), ..Metric::default() }
    };
    let mut windows = Windows::default();
    let (_, staged) = windows.deltas(OWNER, vec![of(&[1, 0, 2], 9.0, 20)]);
    windows.commit(vec![staged]);
    let (metrics, _) = windows.deltas(OWNER, vec![of(&[1, 1, 4], 16.0, 30)]);
    let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("{metrics:?}") };
    let point = &histogram.data_points[0];
    assert_eq!(histogram.aggregation_temporality, 1);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (20, 30));
    assert_eq!((point.count, point.sum, &point.bucket_counts[..]), (3, Some(7.0), &[0, 1, 2][..]));
}

#[test]
fn owners_that_are_gone_are_forgotten() {
    let mut windows = Windows::default();
    sent(&mut windows, 5, (10, 20));
    windows.retain(|owner| owner != OWNER);
    assert_eq!(windows, Windows::default());
}

proptest! {
    /// Whatever is taken and whatever is refused, the windows that were taken follow each other and
    /// come to what was counted.
    #[test]
    fn windows_that_were_taken_are_all_that_was_counted(
        turns in proptest::collection::vec((0_i64..9, any::<bool>()), 1..30),
    ) {
        let mut windows = Windows::default();
        let (mut counted, mut taken, mut until) = (0, 0, 10);
        for (turn, (more, is_taken)) in turns.iter().enumerate() {
            counted += more;
            let at = 20 + turn as u64;
            let (metrics, staged) = windows.deltas(OWNER, vec![sum(counted, (10, at), true)]);
            let undo = windows.commit(vec![staged]);
            if !is_taken {
                windows.revert(undo);
            } else if let Some((value, start, end, _)) = shown(&metrics) {
                prop_assert_eq!((start, end), (until, at));
                (taken, until) = (taken + value, end);
                prop_assert_eq!(taken, counted);
            }
        }
    }
}

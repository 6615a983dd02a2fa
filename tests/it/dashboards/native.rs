//! What a Prometheus that takes native histograms shows.

use std::collections::BTreeSet;

use ephemon_metrics::Format;
use serde_json::Value;

use super::{PATIENCE, Query, compare_all, filled, golden_page};
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::prometheus::{Prometheus, SCRAPED};

/// With native histograms a Prometheus has no classic ones, unless asked for both: each panel shows the
/// same series then, and quantiles within a bucket's width.
#[test]
fn with_native_histograms_every_panel_shows_the_same() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let [classic, native] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [text, protobuf] = [Format::Text, Format::Protobuf].map(golden_page);
    let classic = Prometheus::start(classic.path(), &[text]);
    let native = Prometheus::with_native_histograms(native.path(), &[protobuf]);
    for prometheus in [&classic, &native] {
        // Some panels look at times that are multiples of 15 seconds, of which one must have come since.
        prometheus.until_well(&format!("{SCRAPED} and count_over_time(up[1m:15s]) > 0"));
    }
    let count = |prometheus: &Prometheus, query: &str| prometheus.query(query).pop();
    let family = "ephemon_job_duration_seconds";
    let same = || {
        let counted = count(&native, &format!("histogram_count({family})"))?;
        (count(&classic, &format!("{family}_count")) == Some(counted)).then_some(())
    };
    until(PATIENCE, same).expect("both count the same jobs");
    assert!(count(&native, &format!("{family}_count")).is_none());
    let labels = |prometheus: &Prometheus, query: &Query, target| {
        let asked = filled(query, prometheus, "arc-runners", target);
        let series = prometheus.series(&asked).into_iter();
        let without_target = |series: Value| {
            let labels = series["metric"].as_object().unwrap().iter();
            labels
                .filter(|(name, _)| *name != "instance")
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect::<BTreeSet<_>>()
        };
        series.map(without_target).collect::<BTreeSet<_>>()
    };
    compare_all(|query| {
        let [one, other] =
            [(&classic, text), (&native, protobuf)].map(|(of, to)| labels(of, query, to));
        if one == other { Ok(one.len()) } else { Err(format!("{one:#?}\nis not\n{other:#?}")) }
    });
}

//! What only protobuf has, in Prometheus 2 and 3: native histograms, with classic ones beside them where
//! both are asked for, and since when counters count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ephemon_metrics::{Format, View, render};
use ephemon_self_metrics::Observations;
use serde_json::json;

use crate::exposition;
use crate::support::exporter::serve_with;
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::prometheus::{Prometheus, SCRAPED};

const FAMILY: &str = "ephemon_agent_reading_duration_seconds";
const PATIENCE: Duration = Duration::from_mins(1);

/// Serves views in the formats that the scrapers accept.
fn exporter(mut view: impl FnMut() -> View + Send + 'static) -> SocketAddr {
    serve_with(move |head| {
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let mut accept = headers.filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
        let format = Format::negotiate(accept.next().map_or("", |(_, value)| value));
        let mut page = Vec::new();
        render(&view(), format, &mut page);
        (format.content_type(), page)
    })
}

/// The golden exposition with 91 more observations at each scrape: every hundredth from 0.10 to 1.00.
fn growing() -> SocketAddr {
    let bounds = &[0.25, 0.5, 0.75, 1.0];
    let mut times = Observations::new(FAMILY, "Time to read one container's cgroup files.", bounds);
    exporter(move || {
        (10..=100).for_each(|hundredths| times.observe(f64::from(hundredths) / 100.0));
        View { histograms: vec![times.clone()], ..exposition::view() }
    })
}

/// Waits until a query has so many series; their values.
fn until_has(prometheus: &Prometheus, query: &str, series: usize) -> Vec<f64> {
    let mut last = Vec::new();
    let found = until(PATIENCE, || {
        last = prometheus.query(query);
        (last.len() == series).then(|| last.clone())
    });
    found.unwrap_or_else(|| panic!("{query}: {last:?}"))
}

fn one(prometheus: &Prometheus, query: &str) -> f64 {
    until_has(prometheus, query, 1)[0]
}

/// The quantile may be off by a bucket of schema 3, the mean and the count may not.
fn native_ones_are_right(prometheus: &Prometheus) {
    let quantile = one(prometheus, &format!("histogram_quantile(0.9, rate({FAMILY}[1m]))"));
    let bucket = 0.125_f64.exp2();
    assert!((0.91 / bucket..=0.91 * bucket).contains(&quantile), "{quantile}");
    let (sum, count) = (format!("histogram_sum({FAMILY})"), format!("histogram_count({FAMILY})"));
    let mean = one(prometheus, &format!("{sum} / {count}"));
    assert!((mean - 0.55).abs() < 1e-9, "{mean}");
    assert!(one(prometheus, &count) % 91.0 < 0.5, "each scrape has all of its observations");
    until_has(prometheus, "histogram_count(ephemon_job_duration_seconds) > 0", 1);
}

#[test]
fn prometheus_2_takes_native_histograms_where_the_feature_is_on() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::with_native_histograms(scratch.path(), &[growing()]);
    prometheus.until_well(SCRAPED);
    native_ones_are_right(&prometheus);
}

#[test]
fn prometheus_3_takes_the_histograms_that_its_configuration_names() {
    if !all_there(&[Part::Program("prometheus-3")]) {
        return;
    }
    for (native, classic_too) in [(false, false), (true, false), (true, true)] {
        let scratch = tempfile::tempdir().unwrap();
        let scrape = json!({
            "static_configs": [{ "targets": [growing()] }],
            "scrape_native_histograms": native,
            "always_scrape_classic_histograms": classic_too,
        });
        let prometheus = Prometheus::start_3(scratch.path(), &scrape, &[]);
        prometheus.until_well(SCRAPED);
        let has_classic = classic_too || !native;
        eprintln!("native ones: {native}, classic ones: {has_classic}");
        until_has(&prometheus, &format!("histogram_count({FAMILY})"), usize::from(native));
        until_has(&prometheus, &format!("{FAMILY}_bucket"), if has_classic { 5 } else { 0 });
        if native {
            native_ones_are_right(&prometheus);
        }
        if has_classic {
            let quantile = format!("histogram_quantile(0.9, rate({FAMILY}_bucket[1m]))");
            let quantile = one(&prometheus, &quantile);
            assert!((quantile - 0.91).abs() < 0.01, "{quantile}");
        }
        if native && classic_too {
            let jobs = "ephemon_job_duration_seconds";
            let equal = format!("histogram_count({jobs}) == on (job_id) {jobs}_count");
            let same = || {
                let all = prometheus.query(&format!("{jobs}_count")).len();
                (all > 0 && prometheus.query(&equal).len() == all).then_some(())
            };
            until(PATIENCE, same).expect("both count the same jobs");
        }
    }
}

/// A container that is over before the first scrape sees it has used all that it ever will: its counters
/// seem never to grow, unless the scraper learns that they began at 0.
#[test]
fn prometheus_3_knows_that_a_containers_counters_began_at_its_start() {
    if !all_there(&[Part::Program("prometheus-3")]) {
        return;
    }
    let born = SystemTime::now() - Duration::from_secs(10);
    let short = exporter(move || {
        let mut view = exposition::view();
        for shown in &mut view.containers {
            Arc::make_mut(&mut shown.container.record).created = born;
        }
        view
    });
    let scrape = json!({ "honor_labels": true, "static_configs": [{ "targets": [short] }] });
    let used = "ephemon_container_cpu_usage_seconds_total{container=\"step-1\"}";
    for (flags, least) in
        [(&[][..], 1.234_567_89), (&["--enable-feature=created-timestamp-zero-ingestion"][..], 0.0)]
    {
        let scratch = tempfile::tempdir().unwrap();
        let prometheus = Prometheus::start_3(scratch.path(), &scrape, flags);
        prometheus.until_well(SCRAPED);
        let seen = one(&prometheus, &format!("min_over_time({used}[1h])"));
        assert!((seen - least).abs() < 1e-9, "{flags:?}: {seen}");
    }
}

//! Panels that can be read: each says what it shows, and none draws any number of curves.

use std::collections::BTreeSet;

use super::{Query, Value, dashboards, filled, label_variables, panels, serve, text};
use crate::support::parts::{Part, all_there};
use crate::support::prometheus::{Prometheus, SCRAPED};

/// Most curves, bars or rows of one panel that can be told apart.
const CURVES: usize = 24;
/// Kinds of panels that draw one thing for each series.
const DRAWN: [&str; 3] = ["timeseries", "bargauge", "state-timeline"];
/// Labels of which nobody knows how many values there will be, as legends name them.
const OPEN: [&str; 11] = [
    "$namespace_label",
    "$pod_label",
    "$container_label",
    "instance",
    "name",
    "organization",
    "repository",
    "workflow",
    "job_id",
    "image",
    "device",
];
/// Pods of the page that has many.
const PODS: u32 = 40;

#[test]
fn every_panel_says_what_it_shows() {
    for dashboard in dashboards() {
        let title = text(&dashboard["title"]);
        for panel in panels(&dashboard).iter().filter(|panel| panel["type"] != "row") {
            let about = panel["description"].as_str().unwrap_or_default();
            assert!(about.ends_with('.'), "{title}, {}: “{about}”", panel["title"]);
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let named = variable["hide"] == 2 || !text(&variable["label"]).is_empty();
            assert!(named, "{title}: {} has no title", variable["name"]);
        }
    }
}

#[test]
fn curves_of_what_there_may_be_any_number_of_are_ranked() {
    let mut seen = 0;
    for dashboard in dashboards() {
        for panel in drawn(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let named = in_braces(&text(&target["legendFormat"]));
                if OPEN.iter().any(|label| named.contains(*label)) {
                    let ranked = text(&target["expr"]).contains("topk(");
                    assert!(ranked, "{}, {}: {target}", dashboard["title"], panel["title"]);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 20, "{seen} such curves");
}

/// Each panel is asked about forty runners in as many namespaces.
#[test]
fn no_panel_draws_more_curves_than_can_be_told_apart() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let page = serve("text/plain; version=0.0.4", many_runners().into_bytes());
    let prometheus = Prometheus::start(scratch.path(), &[page]);
    prometheus.until_well(SCRAPED);
    let there = prometheus.query("count(count by (pod) (ephemon_container_start_time_seconds))");
    assert!(matches!(there[..], [pods] if pods > f64::from(PODS)), "{there:?}");
    for dashboard in dashboards() {
        for panel in drawn(&dashboard) {
            let mut curves = 0;
            for target in panel["targets"].as_array().unwrap() {
                let query = Query {
                    dashboard: text(&dashboard["title"]),
                    labels: label_variables(&dashboard),
                    panel: text(&panel["title"]),
                    expression: text(&target["expr"]),
                };
                let asked = filled(&query, &prometheus, ".*", page);
                curves += prometheus.series_within(&asked, 4);
            }
            let place = format!("{}, {}", dashboard["title"], panel["title"]);
            assert!(curves <= CURVES, "{place}: {curves} curves");
        }
    }
}

fn drawn(dashboard: &Value) -> impl Iterator<Item = &Value> {
    panels(dashboard).iter().filter(|panel| DRAWN.iter().any(|kind| panel["type"] == *kind))
}

/// The labels in a legend's double braces.
fn in_braces(legend: &str) -> BTreeSet<String> {
    let parts = legend.split("{{").skip(1);
    parts.filter_map(|part| part.split_once("}}")).map(|(name, _)| name.to_owned()).collect()
}

/// The golden exposition, with its runner many times.
fn many_runners() -> String {
    let golden = include_str!("../golden/metrics.prom");
    let of_runner = |line: &&str| line.contains("runner-1") && !line.starts_with('#');
    let mut page = golden.to_owned();
    for number in 2..=PODS + 1 {
        for line in golden.lines().filter(of_runner) {
            let pod = format!("runner-{number:02}");
            let namespace = format!("namespace=\"runners-{number}\"");
            let other = line.replace("runner-1", &pod);
            page.push_str(&other.replace("namespace=\"arc-runners\"", &namespace));
            page.push('\n');
        }
    }
    page
}

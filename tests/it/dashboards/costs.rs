//! What the dashboard of a job says that the job cost, worked out by promtool from series whose sum is
//! known.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{Value, dashboards, panels, text};
use crate::support::parts::{self, Part, all_there};
use crate::support::process;

/// A container that holds 1 GiB for a minute, and is then shown with its last value, another one, as an
/// ended one is; and one that ended after a quarter of a second with nothing left, and a
/// peak of 4 GiB.
#[test]
fn a_job_costs_what_its_containers_used_while_they_ran() {
    if !all_there(&[Part::Program("promtool")]) {
        return;
    }
    let gib = f64::from(1 << 30);
    let series = |name: &str, container: &str, values: String| {
        let labels = format!(r#"namespace="ci",pod="r",container="{container}""#);
        json!({ "series": format!("ephemon_container_{name}{{{labels}}}"), "values": values })
    };
    let input = [
        series("start_time_seconds", "long", "0x20".into()),
        series("end_time_seconds", "long", "_x4 60x16".into()),
        series("memory_working_set_bytes", "long", format!("{gib}x3 {}x16", 7.0 * gib)),
        series("memory_peak_bytes", "long", format!("{}x20", 9.0 * gib)),
        series("cpu_usage_seconds_total", "long", "0+6x3 24x16".into()),
        series("start_time_seconds", "short", "_x4 50x16".into()),
        series("end_time_seconds", "short", "_x4 50.25x16".into()),
        series("memory_working_set_bytes", "short", "_x4 0x16".into()),
        series("memory_peak_bytes", "short", format!("_x4 {}x16", 4.0 * gib)),
        series("cpu_usage_seconds_total", "short", "_x4 0.5x16".into()),
    ];
    let expected = |title: &str, value: f64| {
        let samples = json!([{ "labels": "{}", "value": value }]);
        json!({ "expr": expression(title), "eval_time": "5m", "exp_samples": samples })
    };
    // A core for an hour at 3600, a GiB for an hour at 36.
    let held = 60.0 + 0.25 * 4.0;
    let wanted = [
        expected("CPU time", 24.5),
        expected("Memory over time", held),
        expected("At the prices given", 24.5 + held / 100.0),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("costs.yaml");
    let test = json!({ "interval": "15s", "input_series": input, "promql_expr_test": wanted });
    // JSON is YAML.
    let tests = json!({ "rule_files": [], "evaluation_interval": "15s", "tests": [test] });
    fs::write(&file, tests.to_string()).unwrap();
    let promtool = parts::program("promtool").unwrap();
    process::output(Command::new(promtool).args(["test", "rules"]).arg(file));
}

/// The query of a panel of the dashboard of a job, as Grafana fills it in.
fn expression(title: &str) -> String {
    let all = dashboards();
    let job = all.iter().find(|dashboard| dashboard["uid"] == "ephemon-job").unwrap();
    let panel = |panel: &&Value| panel["type"] == "stat" && panel["title"] == title;
    let panel = panels(job).iter().find(panel).unwrap_or_else(|| panic!("no panel {title}"));
    let mut asked = text(&panel["targets"][0]["expr"]);
    for (name, value) in [
        ("$__range", "5m"),
        ("$cpu_price", "3600"),
        ("$memory_price", "36"),
        ("_label", ""),
        ("$namespace=~\"$namespace\"", "namespace=\"ci\""),
        ("$pod=~\"$pod\"", "pod=~\"r\""),
        ("$container=~\"$container\"", "container=~\".*\""),
        ("$cluster", ".*"),
        ("$", ""),
    ] {
        asked = asked.replace(name, value);
    }
    asked
}

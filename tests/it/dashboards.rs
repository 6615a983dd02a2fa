//! What `dashboards/` ships: names that exist, rules that promtool accepts, and queries that have
//! something to show when Prometheus watches the demo.

mod costs;
mod links;
mod native;
mod panels;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ephemon_catalogue::{Kind, families};
use ephemon_metrics::Format;
use serde_json::Value;

use crate::exposition;
use crate::support::exporter::serve;
use crate::support::http;
use crate::support::parts::{self, Part, all_there};
use crate::support::ports;
use crate::support::process::{self, Running, until};
use crate::support::programs;
use crate::support::prometheus::{Prometheus, SCRAPED};

/// The demo plays for half a minute; on a busy machine for longer.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a listener of actions-runner-controller serves, by `cmd/ghalistener/metrics/metrics.go` there.
const ARC: &str = include_str!("golden/arc_listener.prom");
/// Variables that are not written down here stand for anything.
const TYPED: [(&str, &str); 2] = [("cpu_price", "0.025"), ("memory_price", "0.00625")];

/// One query of a panel.
struct Query {
    dashboard: String,
    /// The names of labels that the dashboard finds out: variable, label, and family to look at.
    labels: Vec<(String, String, String)>,
    panel: String,
    expression: String,
}

fn home() -> PathBuf {
    parts::repository().join("dashboards")
}

fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(home().join(below)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = found.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    assert!(!found.is_empty(), "no *{ending} in dashboards/{below}");
    found
}

fn dashboards() -> Vec<Value> {
    let read = |path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    files("", ".json").into_iter().map(read).collect()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            let targets = panel["targets"].as_array().into_iter().flatten();
            let of_prometheus = |target: &&Value| target["datasource"]["type"] == "prometheus";
            for target in targets.filter(of_prometheus) {
                found.push(Query {
                    dashboard: text(&dashboard["title"]),
                    labels: label_variables(&dashboard),
                    panel: text(&panel["title"]),
                    expression: text(&target["expr"]),
                });
            }
        }
    }
    found
}

/// The hidden variables that hold names of labels. Grafana takes the first of what their regular
/// expressions leave, by the alphabet.
fn label_variables(dashboard: &Value) -> Vec<(String, String, String)> {
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let is_name = |variable: &&Value| text(&variable["name"]).ends_with("_label");
    let hidden = variables.iter().filter(is_name);
    let read = |variable: &Value| {
        let name = text(&variable["name"]);
        let label = name.strip_suffix("_label").unwrap().to_owned();
        assert_eq!(variable["regex"], format!("/^(?:exported_)?{label}$/"));
        // A choice that was kept could be `pod`, which is there in both cases.
        assert!(variable["sort"] == 1 && variable["current"].is_null(), "{variable}");
        assert_eq!(variable["hide"], 2, "{variable}");
        let query = text(&variable["query"]["query"]);
        let family = query.strip_prefix("label_names(").and_then(|rest| rest.strip_suffix(')'));
        (name, label, family.unwrap().to_owned())
    };
    hidden.map(read).collect()
}

/// The names in a query that begin as ours do; those of recorded series have a colon before them.
fn names(expression: &str) -> BTreeSet<&str> {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(|letter: char| !word(letter));
    words.filter(|name| name.starts_with("ephemon_") || name.starts_with("process_")).collect()
}

/// The names of all series: a native histogram's one and a classic one's three included.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for family in families() {
        let endings: &[&str] = match family.kind {
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        known.extend(endings.iter().map(|ending| format!("{}{ending}", family.name)));
    }
    known
}

#[test]
fn every_metric_that_is_named_exists() {
    let known = known();
    let mut texts: Vec<(String, String)> = queries()
        .into_iter()
        .map(|query| (format!("{}, {}", query.dashboard, query.panel), query.expression))
        .collect();
    for dashboard in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            texts.push((text(&dashboard["title"]), variable["query"].to_string()));
        }
    }
    for path in files("rules", ".yaml").into_iter().chain(files("provisioning", ".yaml")) {
        texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    let mut seen = 0;
    for (place, text) in &texts {
        for name in names(text) {
            assert!(known.contains(name), "{place}: there is no {name}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} names were found");
}

#[test]
fn panels_have_places_of_their_own_and_variables_are_declared() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let title = text(&dashboard["title"]);
        assert!(uids.insert(text(&dashboard["uid"])), "{title}: its uid is another's too");
        let declared: BTreeSet<String> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| text(&variable["name"]))
            .collect();
        let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: {panel}");
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{title}: {} is too wide", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{title}: {} covers another", panel["title"]);
                }
            }
            for used in variables(&panel.to_string()) {
                let built_in = used.starts_with("__");
                assert!(built_in || declared.contains(&used), "{title}: ${used} is not declared");
            }
        }
    }
}

/// `$name` and `${name}`.
fn variables(text: &str) -> BTreeSet<String> {
    let name = |after: &str| {
        let after = after.trim_start_matches('{');
        let end = after.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        after.get(..end.unwrap_or(after.len())).unwrap_or_default().to_owned()
    };
    text.split('$').skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_hold() {
    if !all_there(&[Part::Program("promtool")]) {
        return;
    }
    let promtool = || Command::new(parts::program("promtool").unwrap());
    let rules = home().join("rules");
    let alerts = rules.join("alerts.yaml");
    process::output(promtool().args(["check", "rules", "--lint-fatal"]).arg(alerts));
    process::output(promtool().args(["test", "rules"]).arg(rules.join("tests.yaml")));
}

#[test]
fn every_alert_is_tested() {
    let read = |path: &str| fs::read_to_string(parts::repository().join(path)).unwrap();
    let tests = read("dashboards/rules/tests.yaml");
    let alerts = read("dashboards/rules/alerts.yaml");
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test");
        count += 1;
    }
    assert!(count > 10, "{count} alerts");
}

/// Every query is asked about the demo. What this machine's kernel or the demo's node does not
/// serve (pressure on cgroup v1, block devices, networks of pods) is asked about the golden page,
/// which has every family.
#[test]
fn every_panel_has_something_to_show() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let agent = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    let mut demo = Command::new(programs::ephemon());
    demo.args(["demo", "--listen", &agent.to_string()]);
    let log = fs::File::create(scratch.path().join("demo.log")).unwrap();
    let mut demo = Running::start(demo.stdout(Stdio::null()).stderr(log));
    let golden = golden_page(Format::Text);
    let arc = serve(Format::Text.content_type(), ARC.into());
    let prometheus = Prometheus::start(scratch.path(), &[agent, golden, arc]);

    let mut empty: Vec<Query> = queries();
    assert!(empty.len() > 60, "only {} queries", empty.len());
    // The demo plays for half a minute; what shows last is the longest of its containers' end.
    let all = until(PATIENCE, || {
        let served = http::get(agent, "/metrics", "*/*").map_or(String::new(), |page| page.body);
        empty.retain(|query| {
            let lacks = names(&query.expression).into_iter().any(|name| !served.contains(name));
            let (namespace, of) = if lacks { ("arc-runners", golden) } else { ("default", agent) };
            let asked = filled(query, &prometheus, namespace, of);
            prometheus.series_within(&asked, 60) == 0
        });
        thread::sleep(Duration::from_secs(1));
        empty.is_empty().then_some(())
    });
    let shown: Vec<String> = empty
        .iter()
        .map(|query| format!("{}, {}: {}", query.dashboard, query.panel, query.expression))
        .collect();
    assert!(all.is_some(), "nothing to show:\n{}", shown.join("\n"));
    let answers = prometheus.query("max_over_time(ephemon_agent_watch_up{watch=\"pods\"}[10m])");
    assert_eq!(answers, [1.0], "the demo's API server answers");
    demo.terminate(Duration::from_mins(1));
}

/// A scrape without `honor_labels` of a target that has a namespace, a pod and a container of its own
/// shows the same, under other names.
#[test]
fn without_honor_labels_every_panel_shows_the_same() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let [with, without] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let golden = golden_page(Format::Text);
    let with = Prometheus::start(with.path(), &[golden]);
    let without = Prometheus::without_honor_labels(without.path(), &[golden]);
    for prometheus in [&with, &without] {
        prometheus.until_well(SCRAPED);
    }
    let names = without.label_names("ephemon_container_start_time_seconds");
    for name in ["exported_container", "exported_namespace", "exported_pod"] {
        assert!(
            names.iter().any(|known| known == name),
            "the test must make labels clash: {names:?}"
        );
    }
    let of = |prometheus: &Prometheus, query: &Query| {
        let asked = filled(query, prometheus, "arc-runners", golden);
        let known = prometheus.series(&asked).into_iter().map(|series| {
            let labels = series["metric"].as_object().unwrap().iter();
            let plain = |name: &str| name.strip_prefix("exported_").unwrap_or(name).to_owned();
            let labels: BTreeSet<_> =
                labels.map(|(name, value)| (plain(name), text(value))).collect();
            (labels, text(&series["value"][1]))
        });
        known.collect::<BTreeSet<_>>()
    };
    // Of the agent itself a series has the target's own labels, too.
    let own = |labels: &BTreeSet<(String, String)>| {
        labels.iter().any(|(name, value)| name == "pod" && value == "ephemon-x7k2p")
    };
    let same = |query: &Query| {
        let [known, renamed] = [&with, &without].map(|prometheus| of(prometheus, query));
        let count = known.len();
        let is_same = if renamed.iter().any(|(labels, _)| own(labels)) {
            !query.expression.contains("_label") && count == renamed.len()
        } else if query.expression.contains("timestamp(") {
            // How long something has run so far is another figure at each scrape.
            let labels =
                |of: &BTreeSet<(_, _)>| of.iter().map(|(labels, _)| labels).cloned().collect();
            let [known, renamed]: [Vec<_>; 2] = [labels(&known), labels(&renamed)];
            known == renamed
        } else {
            known == renamed
        };
        if is_same { Ok(count) } else { Err(format!("{known:?}\nis not\n{renamed:?}")) }
    };
    compare_all(same);
}

/// Compares what two servers answer to each of the queries, until more than a hundred series were the same;
/// `same` returns how many are, or a difference.
///
/// A rate has no value where a busy machine has kept one of the two from scraping; where it has kept both, there
/// is nothing to compare.
fn compare_all(same: impl Fn(&Query) -> Result<usize, String>) {
    let mut seen = 0;
    let enough = until(PATIENCE, || {
        seen = 0;
        for query in queries() {
            let mut last = String::new();
            let count = until(PATIENCE, || same(&query).map_err(|why| last = why).ok());
            seen += count.unwrap_or_else(|| {
                panic!("{}, {}: {}: {last}", query.dashboard, query.panel, query.expression)
            });
        }
        (seen > 100).then_some(())
    });
    assert!(enough.is_some(), "{seen} series were compared");
}

/// As Grafana fills in variables: one namespace, one target, everything else chosen.
fn filled(query: &Query, prometheus: &Prometheus, namespace: &str, target: SocketAddr) -> String {
    let mut filled = query.expression.replace("$__rate_interval", "10s");
    filled = filled.replace("$__range_s", "300").replace("$__range", "5m");
    for (variable, label, family) in &query.labels {
        let names = prometheus.label_names(family);
        let exported = format!("exported_{label}");
        let name = if names.contains(&exported) { &exported } else { label };
        filled = filled.replace(&format!("${variable}"), name);
    }
    filled = filled.replace("$namespace", namespace).replace("$instance", &target.to_string());
    for (typed, value) in TYPED {
        filled = filled.replace(&format!("${typed}"), value);
    }
    let mut left: Vec<String> = variables(&filled).into_iter().collect();
    // `$container_type` before `$container`.
    left.sort_by_key(|name| std::cmp::Reverse(name.len()));
    left.iter().fold(filled, |filled, name| filled.replace(&format!("${name}"), ".*"))
}

/// Serves the golden exposition until the process ends.
fn golden_page(format: Format) -> SocketAddr {
    serve(format.content_type(), exposition::rendered(format))
}

//! Links that lead somewhere: to dashboards and variables that exist, from columns that exist, by
//! attributes that logs and spans have.

use std::collections::BTreeSet;
use std::fs;

use super::{Value, dashboards, files, panels, text, variables};
use crate::support::parts;

/// Functions of fields in a link, besides the columns of a table.
const BUILT_IN: [&str; 5] = ["__data", "__value", "__url_time_range", "__from", "__to"];

#[test]
fn links_between_dashboards_name_what_the_other_one_has() {
    let all = dashboards();
    let mut seen = BTreeSet::new();
    for dashboard in &all {
        for panel in panels(dashboard) {
            let place = format!("{}, {}", dashboard["title"], panel["title"]);
            for url in urls(&panel["fieldConfig"]) {
                follow(&all, &place, &url);
                for used in variables(&url).into_iter().filter(|name| name.starts_with("__")) {
                    assert!(BUILT_IN.contains(&&*used), "{place}: {used}");
                }
                for column in columns_of(&url) {
                    assert!(has_column(panel, &column), "{place}: no column {column} for {url}");
                }
                seen.insert((text(&dashboard["uid"]), url.split('?').next().unwrap().to_owned()));
            }
        }
    }
    for (from, to) in [
        ("ephemon-fleet", "/d/ephemon-job"),
        ("ephemon-jobs", "/d/ephemon-job"),
        ("ephemon-containers", "/d/ephemon-job"),
        ("ephemon-job", "/d/ephemon-jobs"),
        ("ephemon-job", "/d/ephemon-containers"),
        ("ephemon-job", "/explore"),
    ] {
        assert!(seen.contains(&(from.to_owned(), to.to_owned())), "{from} to {to}: {seen:?}");
    }
    let github = seen.iter().filter(|(_, to)| to.starts_with("${github}/"));
    assert_eq!(github.count(), 2, "jobs and job lead to GitHub: {seen:?}");
}

#[test]
fn links_of_data_sources_lead_to_dashboards_too() {
    let all = dashboards();
    let mut seen = 0;
    for path in files("provisioning", ".yaml") {
        let read = fs::read_to_string(&path).unwrap();
        for url in read.split('\'').filter(|part| part.starts_with("/d/")) {
            follow(&all, &path.display().to_string(), url);
            seen += 1;
        }
    }
    assert_eq!(seen, 2, "from a span and from a line");
}

/// Loki calls the attribute `k8s.pod.name` `k8s_pod_name`; `TraceQL` has it as `resource.k8s.pod.name` or
/// `span.k8s.pod.name`.
#[test]
fn queries_of_logs_and_traces_name_attributes_that_there_are() {
    let reference = parts::repository().join("deploy/docs/metrics.md");
    let reference = fs::read_to_string(reference).unwrap();
    let (_, attributes) = reference.split_once("\n## Attributes\n").unwrap();
    let known: BTreeSet<&str> = attributes.split('`').skip(1).step_by(2).collect();
    let in_loki: BTreeSet<String> = known.iter().map(|name| name.replace('.', "_")).collect();
    let (mut loki, mut tempo) = (0, 0);
    let mut check = |place: &str, word: &str| {
        for scope in ["resource.", "span."] {
            if let Some(name) = word.strip_prefix(scope).filter(|name| *name != "tags") {
                assert!(known.contains(name), "{place}: no attribute {name}");
                tempo += 1;
            }
        }
        if ["k8s_", "cicd_", "vcs_", "ephemon_log", "github_"].iter().any(|it| word.starts_with(it))
        {
            assert!(in_loki.contains(word), "{place}: no attribute is called {word}");
            loki += 1;
        }
    };
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let kind = text(&target["datasource"]["type"]);
                if kind != "prometheus" {
                    let query = target["expr"].as_str().or(target["query"].as_str()).unwrap();
                    let place = format!("{}, {}", dashboard["title"], panel["title"]);
                    words(query).for_each(|word| check(&place, word));
                }
            }
        }
    }
    for path in files("provisioning", ".yaml") {
        let (read, place) = (fs::read_to_string(&path).unwrap(), path.display().to_string());
        words(&read).for_each(|word| check(&place, word));
        for key in read.split("key: ").skip(1) {
            let key = key.split(',').next().unwrap();
            assert!(known.contains(key), "{place}: no attribute {key}");
        }
    }
    assert!(loki > 6 && tempo > 6, "{loki} and {tempo} names");
}

#[test]
fn every_query_is_asked_of_a_data_source_that_its_dashboard_chooses() {
    for dashboard in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let asked = &target["datasource"];
                let chosen = variables.iter().any(|variable| {
                    variable["type"] == "datasource"
                        && variable["query"] == asked["type"]
                        && asked["uid"] == format!("${{{}}}", text(&variable["name"]))
                });
                let same = *asked == panel["datasource"];
                assert!(chosen && same, "{}, {}: {asked}", dashboard["title"], panel["title"]);
            }
        }
    }
}

/// All texts called `url`.
fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("url").map(text);
            own.into_iter().chain(fields.values().flat_map(urls)).collect()
        }
        Value::Array(values) => values.iter().flat_map(urls).collect(),
        _ => Vec::new(),
    }
}

/// A link to a dashboard of ours names one that there is, and variables that it has.
fn follow(all: &[Value], place: &str, url: &str) {
    let Some(rest) = url.strip_prefix("/d/") else { return };
    let (uid, query) = rest.split_once('?').unwrap();
    let target = all.iter().find(|one| one["uid"] == uid);
    let target = target.unwrap_or_else(|| panic!("{place}: no dashboard {uid}"));
    let list = target["templating"]["list"].as_array().unwrap();
    let declared: BTreeSet<String> = list.iter().map(|one| text(&one["name"])).collect();
    let given = query.split('&').filter_map(|part| part.strip_prefix("var-")?.split('=').next());
    let carried = query.split("${").skip(1).filter_map(|part| part.split_once(":queryparam"));
    for name in given.chain(carried.map(|(name, _)| name)) {
        assert!(declared.contains(name), "{place}: {uid} has no variable {name}");
    }
}

/// The columns whose values a link takes.
fn columns_of(url: &str) -> BTreeSet<String> {
    let fields = url.split("${__data.fields.").skip(1);
    fields.filter_map(|field| Some(field.split([':', '}']).next()?.to_owned())).collect()
}

/// Whether one of the panel's queries keeps the label, under whichever name.
fn has_column(panel: &Value, column: &str) -> bool {
    let targets = panel["targets"].as_array().unwrap();
    let kept = |target: &Value| {
        let expression = text(&target["expr"]);
        let groups = expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
        let mut labels = groups.flat_map(|(labels, _)| labels.split(", "));
        let own = format!("${column}_label");
        labels.any(|label| label == column || label == own)
    };
    targets.iter().any(kept)
}

/// Names with dots or underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    text.split(move |letter: char| !inside(letter))
}

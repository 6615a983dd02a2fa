//! The metrics that the documents list are those of OpenTelemetry's registry, in name, kind and unit, by
//! the registry's published crate: what it says of a metric stands above the name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ephemon_otel::conventions::SCHEMA_URL;
use serde_json::Value;

use crate::support::parts;

const CRATE: &str = "opentelemetry-semantic-conventions";
/// What the registry has changed since the crate was published: the release, the metric, its kind, its
/// unit. An entry that the crate has reached must go.
const NEWER: [(&str, &str, &str, &str); 2] = [
    ("1.44.0", "container.memory.usage", "updowncounter", "By"),
    ("1.44.0", "container.paging.faults", "counter", "{fault}"),
];

/// Kind and unit of each metric.
type Metrics = BTreeMap<String, (String, String)>;

/// What the crate holds.
struct Registry {
    version: Vec<u32>,
    metrics: Metrics,
    attributes: BTreeSet<String>,
}

#[test]
fn metrics_are_those_of_the_registry_in_name_kind_and_unit() {
    let Registry { version, mut metrics, .. } = Registry::read();
    for (since, name, kind, unit) in NEWER {
        assert!(number(since) > version, "{CRATE} has {since}: take out {name}");
        metrics.insert(name.to_owned(), (kind.to_owned(), unit.to_owned()));
    }
    assert!(metrics.len() > 100, "{metrics:?}");
    let mut seen = 0;
    for (name, kind, unit, _) in listed() {
        if name.starts_with("ephemon.") {
            assert!(!metrics.contains_key(&name), "{name} is the registry's");
            continue;
        }
        assert_eq!(metrics.get(&name), Some(&(kind, unit)), "{name}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn attributes_of_metrics_are_those_of_the_registry_or_our_own() {
    let registry = Registry::read();
    for (name, _, _, attributes) in listed() {
        for attribute in attributes {
            let own = ["ephemon.", "github."].iter().any(|space| attribute.starts_with(space));
            let known = registry.attributes.contains(&attribute);
            assert!(own != known, "{attribute} of {name}");
        }
    }
}

#[test]
fn the_conventions_version_is_the_crates_or_newer() {
    let ours = number(SCHEMA_URL.rsplit('/').next().unwrap());
    assert!(ours >= Registry::read().version, "{SCHEMA_URL}");
    assert!(NEWER.iter().all(|(since, ..)| number(since) <= ours), "{SCHEMA_URL}");
}

// === impl Registry ===

impl Registry {
    fn read() -> Self {
        let home = source();
        let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
        let library = read("lib.rs");
        let (_, version) = library.split_once("https://opentelemetry.io/schemas/").unwrap();
        let version = number(version.split('"').next().unwrap());
        let (mut metrics, mut kind, mut unit) = (Metrics::new(), None, None);
        for line in read("metric.rs").lines() {
            let cell = |title: &str| {
                let (_, after) = line.split_once(title)?;
                after.split('`').nth(1).map(str::to_owned)
            };
            kind = cell("| Instrument:").or(kind);
            unit = cell("| Unit:").or(unit);
            if let Some(name) = constant(line)
                && let (Some(kind), Some(unit)) = (kind.take(), unit.take())
            {
                metrics.insert(name.to_owned(), (kind, unit));
            }
        }
        let attributes = read("attribute.rs");
        let attributes = attributes.lines().filter_map(constant).map(str::to_owned).collect();
        Self { version, metrics, attributes }
    }
}

/// The value of a constant.
fn constant(line: &str) -> Option<&str> {
    let (_, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
    value.strip_suffix("\";")
}

/// Where Cargo keeps the crate's source.
fn source() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    let output = cargo.current_dir(parts::repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == CRATE).unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("src")
}

/// Name, kind, unit and attributes of each OTLP metric.
fn listed() -> Vec<(String, String, String, Vec<String>)> {
    let page = fs::read_to_string(parts::repository().join("deploy/docs/metrics.md")).unwrap();
    let (_, table) = page.split_once("<!-- otlp-metrics:begin -->").unwrap();
    let (table, _) = table.split_once("<!-- otlp-metrics:end -->").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let unit: Vec<String> = words(cells[1]);
        let kind = cells[1].split(',').next().unwrap().to_lowercase().replace(['-', ' '], "");
        (cells[0].trim_end_matches('`').to_owned(), kind, unit[0].clone(), words(cells[2]))
    });
    listed.collect()
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

//! The tables of metrics in the documents are those in code, and so is what is counted from them.

use std::collections::{BTreeMap, BTreeSet};

use ephemon_catalogue::{Kind, Scope, families, families_markdown, instruments_markdown};

#[test]
fn the_documents_list_the_families_as_the_code_does() {
    between("<!-- metrics:begin -->", "<!-- metrics:end -->", &families_markdown());
}

#[test]
fn the_documents_list_the_metrics_by_otlp_as_the_code_does() {
    let (begin, end) = ("<!-- otlp-metrics:begin -->", "<!-- otlp-metrics:end -->");
    between(begin, end, &instruments_markdown());
}

/// # Panics
/// If the page says something else between these marks.
fn between(begin: &str, end: &str, expected: &str) {
    let page = page("metrics.md");
    let section = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let (section, _) =
        section.unwrap_or_else(|| panic!("deploy/docs/metrics.md must have {begin} and {end}"));
    assert_eq!(section.trim(), expected.trim(), "put this between the marks:\n{expected}");
}

fn page(name: &str) -> String {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/docs/{}"), name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_reference_has_a_line_for_every_family() {
    let reference = families_markdown();
    for family in families() {
        let line = reference
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", family.name)))
            .unwrap_or_else(|| panic!("{} is missing", family.name));
        assert!(line.contains(family.help));
        for label in family.labels {
            assert!(line.contains(&format!("`{label}`")), "{line}");
        }
    }
    for label in Scope::Container.labels() {
        assert!(reference.contains(&format!("`{label}`")));
    }
}

/// Series of one family at most: of which every thing has some, and of which there are so many for
/// each device, interface or type.
type Series = (u64, u64);

#[test]
fn the_cardinality_page_adds_up() {
    let page = page("cardinality.md");
    let scopes = [
        (Scope::Container, "## Per container\n", "containers", "D"),
        (Scope::Pod, "## Per pod\n", "pods", "I"),
        (Scope::Job, "## Per label set of jobs\n", "jobs", "T"),
    ];
    for (scope, heading, things, factor) in scopes {
        let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("{heading}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut rows = rows(section, factor);
        let (mut single, mut sum) = (0, (0, 0));
        // How many histograms, and their series where these are classic.
        let (mut histograms, mut classic) = (0, 0);
        for family in families().filter(|family| family.scope == scope) {
            // Counted by themselves: a series for each job that is shown.
            if scope == Scope::Job && family.kind == Kind::Info {
                continue;
            }
            let several = !family.labels.is_empty() || family.kind == Kind::Histogram;
            match rows.remove(family.name) {
                Some(series) => {
                    sum = (sum.0 + series.0, sum.1 + series.1);
                    if family.kind == Kind::Histogram {
                        (histograms, classic) = (histograms + 1, classic + series.0);
                    }
                }
                None if several => panic!("{heading}: {} has no row", family.name),
                None => (single, sum.0) = (single + 1, sum.0 + 1),
            }
        }
        assert!(rows.is_empty(), "{heading}: there is no {rows:?}");
        let said = format!(
            "The other {single} families of {things} have one series each. Sum: {} + {} × {factor}.",
            sum.0, sum.1
        );
        assert!(section.contains(&said), "{heading}: must say: {said}");
        let part = match sum {
            (0, many) => format!("{many} × {factor}"),
            (some, many) => format!("({some} + {many} × {factor})"),
        };
        assert!(page.contains(&part), "the formula must have {part}");
        if histograms > 0 {
            let fewer = classic - histograms;
            let native = format!("({} + {} × {factor})", sum.0 - fewer, sum.1);
            assert!(page.contains(&native), "with native histograms the formula has {native}");
            assert!(page.contains(&format!("{fewer} series fewer")), "{fewer} series fewer");
        }
    }
}

/// Families and their series, as a section's table says: a number, or one times the factor.
fn rows(section: &str, factor: &str) -> BTreeMap<String, Series> {
    let mut rows = BTreeMap::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, series) = row.trim_end_matches(" |").split_once("` | ").expect(row);
        let series = match series.split_once(" × ") {
            Some((many, by)) if by == factor => (0, many.parse().expect(row)),
            _ => (series.parse().expect(row), 0),
        };
        rows.insert(name.to_owned(), series);
    }
    rows
}

#[test]
fn every_metric_that_a_document_names_exists() {
    let known: BTreeSet<&str> = families().map(|family| family.name).collect();
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    let below = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/docs");
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // What ends in `_` stands for several.
        for name in words.filter(|name| name.starts_with("ephemon_") && !name.ends_with('_')) {
            let ends = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
            let stem = ends.into_iter().flatten().find(|stem| known.contains(stem));
            if !known.contains(stem.unwrap_or(name)) {
                wrong.insert(format!("{}: {name}", path.display()));
            }
            seen += 1;
        }
    }
    assert!(seen > 100 && wrong.is_empty(), "{seen} names, not known: {wrong:#?}");
}

//! The README's tables of metrics are those in code.

use ephemon_catalogue::{Scope, families, families_markdown, instruments_markdown};

#[test]
fn the_readme_lists_the_families_as_the_code_does() {
    between("<!-- metrics:begin -->", "<!-- metrics:end -->", &families_markdown());
}

#[test]
fn the_readme_lists_the_metrics_by_otlp_as_the_code_does() {
    let (begin, end) = ("<!-- otlp-metrics:begin -->", "<!-- otlp-metrics:end -->");
    between(begin, end, &instruments_markdown());
}

/// # Panics
/// If the README says something else between these marks.
fn between(begin: &str, end: &str, expected: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).unwrap_or_default();
    let section = readme
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end))
        .map(|(section, _)| section);
    let Some(section) = section else {
        assert!(std::env::var_os("CI").is_none(), "README.md must have {begin} and {end}");
        println!("skipped: README.md has no {begin} and {end}");
        return;
    };
    assert_eq!(section.trim(), expected.trim(), "put this between the marks:\n{expected}");
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

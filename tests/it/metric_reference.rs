//! The README's table of metrics is the one in code.

use ephemon::metrics::{Scope, families, reference_markdown};

const BEGIN: &str = "<!-- metrics:begin -->";
const END: &str = "<!-- metrics:end -->";

#[test]
fn the_readme_lists_the_families_as_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap_or_default();
    let section = readme
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(section, _)| section);
    let Some(section) = section else {
        assert!(std::env::var_os("CI").is_none(), "README.md must have {BEGIN} and {END}");
        println!("skipped: README.md has no {BEGIN} and {END}");
        return;
    };
    let expected = reference_markdown();
    assert_eq!(section.trim(), expected.trim(), "put this between the marks:\n{expected}");
}

#[test]
fn the_reference_has_a_line_for_every_family() {
    let reference = reference_markdown();
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

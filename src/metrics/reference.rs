//! The table of families as Markdown, for `deploy/docs/metrics.md`.

use super::family::{Family, Scope, families};

/// The reference between that page's `<!-- metrics:begin -->` and `<!-- metrics:end -->`.
pub fn reference_markdown() -> String {
    let sections = [
        section(Scope::Container, "Containers"),
        section(Scope::Pod, "Pods"),
        section(Scope::Job, "Jobs"),
        section(Scope::Agent, "The agent"),
    ];
    sections.join("\n")
}

fn section(scope: Scope, title: &str) -> String {
    let shared = match scope.labels() {
        [] => String::new(),
        labels => format!("Every series has the labels {}.\n\n", code(labels)),
    };
    let lines: String = families().filter(|family| family.scope == scope).map(line).collect();
    format!(
        "#### {title}\n\n{shared}\
         | Family | Kind | Further labels | Meaning |\n|---|---|---|---|\n{lines}"
    )
}

fn line(family: &Family) -> String {
    let unit = family.unit().map(|unit| format!(", {}", unit.as_str())).unwrap_or_default();
    let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
    format!("| `{name}` | {kind}{unit} | {} | {help} |\n", code(family.labels))
}

fn code(labels: &[&str]) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    labels.join(", ")
}

//! The table as Markdown, for the documents.

use super::family::{Family, families};
use super::instrument::{Instrument, instruments};
use super::row::Scope;

/// The families: what stands between `<!-- metrics:begin -->` and `<!-- metrics:end -->`.
pub fn families_markdown() -> String {
    let section = |scope: Scope, title: &str| {
        let shared = match scope.labels() {
            [] => String::new(),
            labels => format!("Every series has the labels {}.\n\n", code(labels)),
        };
        let families = families().filter(|family| family.scope == scope);
        let lines: String = families.map(|family| family_line(&family)).collect();
        format!(
            "#### {title}\n\n{shared}\
             | Family | Kind | Further labels | Meaning |\n|---|---|---|---|\n{lines}"
        )
    };
    let sections = [
        section(Scope::Container, "Containers"),
        section(Scope::Pod, "Pods"),
        section(Scope::Job, "Jobs"),
        section(Scope::Debug, "Debug containers"),
        section(Scope::Agent, "The agent"),
    ];
    sections.join("\n")
}

/// The instruments: what stands between `<!-- otlp-metrics:begin -->` and
/// `<!-- otlp-metrics:end -->`.
pub fn instruments_markdown() -> String {
    let section = |scope: Scope, title: &str| {
        let instruments = instruments().filter(|one| one.scope == scope);
        let lines: String = instruments.map(instrument_line).collect();
        format!(
            "#### {title}\n\n\
             | Metric | Kind, unit | Attributes | Meaning |\n|---|---|---|---|\n{lines}"
        )
    };
    let sections = [
        section(Scope::Container, "Containers over OTLP"),
        section(Scope::Pod, "Pods over OTLP"),
        section(Scope::Job, "Jobs over OTLP"),
    ];
    sections.join("\n")
}

fn family_line(family: &Family) -> String {
    let unit = family.unit().map(|unit| format!(", {}", unit.as_str())).unwrap_or_default();
    let (name, kind, help) = (family.name, family.kind.as_prometheus(), family.help);
    format!("| `{name}` | {kind}{unit} | {} | {help} |\n", code(&family.labels))
}

fn instrument_line(instrument: &Instrument) -> String {
    let Instrument { name, description, kind, unit, attributes, .. } = instrument;
    let (kind, attributes) = (kind.as_otlp(), code(attributes));
    format!("| `{name}` | {kind}, `{unit}` | {attributes} | {description} |\n")
}

fn code(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

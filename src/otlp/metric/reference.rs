//! The table of metrics as Markdown, for `deploy/docs/metrics.md`.

use super::instrument::{Instrument, Scope, instruments};

/// The reference between that page's `<!-- otlp-metrics:begin -->` and `<!-- otlp-metrics:end -->`.
pub fn reference_markdown() -> String {
    let sections = [
        section(Scope::Container, "Containers, by OTLP"),
        section(Scope::Pod, "Pods, by OTLP"),
        section(Scope::Job, "Jobs, by OTLP"),
    ];
    sections.join("\n")
}

fn section(scope: Scope, title: &str) -> String {
    let lines: String = instruments().filter(|one| one.scope == scope).map(line).collect();
    format!(
        "#### {title}\n\n| Metric | Kind, unit | Attributes | Meaning |\n|---|---|---|---|\n{lines}"
    )
}

fn line(instrument: &Instrument) -> String {
    let Instrument { name, description, kind, unit, attributes, .. } = instrument;
    let attributes: Vec<_> = attributes.iter().map(|name| format!("`{name}`")).collect();
    let (kind, attributes) = (kind.as_str(), attributes.join(", "));
    format!("| `{name}` | {kind}, `{unit}` | {attributes} | {description} |\n")
}

//! The table of families as Markdown, for the README.

use super::family::{Family, Scope, families};

/// The reference between the README's `<!-- metrics:begin -->` and `<!-- metrics:end -->`.
pub fn reference_markdown() -> String {
    let mut text = String::new();
    for (scope, title) in [
        (Scope::Container, "Containers"),
        (Scope::Pod, "Pods"),
        (Scope::Agent, "The agent"),
    ] {
        section(&mut text, scope, title);
    }
    text
}

fn section(text: &mut String, scope: Scope, title: &str) {
    let separator = if text.is_empty() { "" } else { "\n" };
    let shared: Vec<_> = scope.labels().iter().map(|label| format!("`{label}`")).collect();
    let labels = match shared.len() {
        0 => String::new(),
        _ => format!("Every series has the labels {}.\n\n", shared.join(", ")),
    };
    text.push_str(&format!(
        "{separator}#### {title}\n\n{labels}| Family | Kind | Further labels | Meaning |\n|---|---|---|---|\n"
    ));
    for family in families().filter(|family| family.scope == scope) {
        line(text, family);
    }
}

fn line(text: &mut String, family: &Family) {
    let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    let unit = family.unit().map(|unit| format!(", {}", unit.as_str()));
    let (name, kind) = (family.name, family.kind.as_str());
    let (unit, labels, help) = (unit.unwrap_or_default(), labels.join(", "), family.help);
    text.push_str(&format!("| `{name}` | {kind}{unit} | {labels} | {help} |\n"));
}

//! Label and field selectors of lists and watches. Pure.

use std::fmt;

use serde_json::Value;

/// A parsed `labelSelector` parameter; every requirement must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// A parsed `fieldSelector` parameter; every term must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

/// The selector is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSelector(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    /// Also met if the label is missing, as in the API.
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: &'static str,
    value: String,
    wanted: bool,
}

/// What the real server expects after a label.
const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";
/// Its message for a label that does not begin and end with a letter or digit.
const NAME_FORM: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// Valid first and last characters of a label's name.
const EDGE: fn(char) -> bool = |c| c.is_ascii_alphanumeric();

/// The supported field selectors of pods.
const FIELDS: [(&str, &str); 4] = [
    ("metadata.name", "/metadata/name"),
    ("metadata.namespace", "/metadata/namespace"),
    ("spec.nodeName", "/spec/nodeName"),
    ("status.phase", "/status/phase"),
];

// === impl LabelSelector ===

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Requirement::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the object's labels meet every requirement.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.holds(object))
    }
}

// === impl Requirement ===

impl Requirement {
    fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let invalid = || {
            InvalidSelector(format!(
                "unable to parse requirement: found '{text}', expected a label requirement"
            ))
        };
        let key = |name: &str| {
            let name = name.trim();
            let valid = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
            if !valid {
                return Err(invalid());
            }
            if !name.starts_with(EDGE) || !name.ends_with(EDGE) {
                return Err(InvalidSelector(format!(
                    "unable to parse requirement: <nil>: Invalid value: {name:?}: {NAME_FORM}"
                )));
            }
            Ok(name.to_owned())
        };
        if let Some(open) = text.strip_suffix(')') {
            let (head, list) = open.split_once('(').ok_or_else(invalid)?;
            let values = list.split(',').map(|v| v.trim().to_owned()).collect();
            let mut words = head.split_whitespace();
            return match (words.next(), words.next(), words.next()) {
                (Some(name), Some("in"), None) => Ok(Self::In(key(name)?, values)),
                (Some(name), Some("notin"), None) => Ok(Self::NotIn(key(name)?, values)),
                _ => Err(invalid()),
            };
        }
        let one = |value: &str| vec![value.trim().to_owned()];
        if let Some((name, value)) = text.split_once("!=") {
            Ok(Self::NotIn(key(name)?, one(value)))
        } else if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            Ok(Self::In(key(name)?, one(value)))
        } else if let Some(name) = text.strip_prefix('!') {
            Ok(Self::Missing(key(name)?))
        } else {
            let mut words = text.split_whitespace().skip(1);
            let found = match (words.next(), words.next()) {
                (Some("in" | "notin"), Some(word)) => format!("'{word}' expected: '('"),
                (Some(word), _) => format!("'{word}', expected: {OPERATORS}"),
                (None, _) => return Ok(Self::Exists(key(text)?)),
            };
            Err(InvalidSelector(format!("unable to parse requirement: found {found}")))
        }
    }

    fn holds(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        match self {
            Self::In(key, values) => label(key).is_some_and(|l| values.iter().any(|v| v == l)),
            Self::NotIn(key, values) => label(key).is_none_or(|l| values.iter().all(|v| v != l)),
            Self::Exists(key) => label(key).is_some(),
            Self::Missing(key) => label(key).is_none(),
        }
    }
}

// === impl FieldSelector ===

impl FieldSelector {
    /// Parses `spec.nodeName=node1,metadata.name!=x`.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        Self::parse_of(text, &FIELDS)
    }

    /// The same for objects of another kind, with the paths of its fields.
    pub(super) fn parse_of(
        text: &str,
        fields: &[(&str, &'static str)],
    ) -> Result<Self, InvalidSelector> {
        let term = |part: &str| {
            let (name, value, wanted) = if let Some((name, value)) = part.split_once("!=") {
                (name, value, false)
            } else if let Some((name, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (name, value, true)
            } else {
                return Err(InvalidSelector(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                )));
            };
            let (_, field) = fields
                .iter()
                .find(|(known, _)| *known == name.trim())
                .ok_or_else(|| InvalidSelector(format!("field label not supported: {name}")))?;
            Ok(Term { field, value: value.trim().to_owned(), wanted })
        };
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(term)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the object's fields meet every term. A field that is not set counts as empty text.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|term| {
            let found = object.pointer(term.field).and_then(Value::as_str);
            (found.unwrap_or_default() == term.value) == term.wanted
        })
    }
}

// === impl InvalidSelector ===

impl fmt::Display for InvalidSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidSelector {}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c: char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn selects(selector: &str) -> bool {
        let object =
            json!({"metadata": {"labels": {"app": "web", "actions-ephemeral-runner": "True"}}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn every_operator_selects_as_the_api_does() {
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            "actions-ephemeral-runner=True",
            "app!=db",
            "missing!=x",
            "app in (db, web)",
            "app notin (db,x),actions-ephemeral-runner",
            "missing notin (x)",
            "!missing",
        ] {
            assert!(selects(yes), "{yes}");
        }
        for no in [
            "missing",
            "app=db",
            "app!=web",
            "app in (db)",
            "!app",
            "app notin (web)",
            "app,missing",
        ] {
            assert!(!selects(no), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_text_in_question() {
        for bad in ["in (x)", "a in x)", "=b", "a~b"] {
            let refusal = LabelSelector::parse(bad).unwrap_err();
            assert!(refusal.to_string().contains(bad), "{refusal}");
        }
        for (bad, why) in
            [("a b", "found 'b', expected: in,"), ("a in b", "found 'b' expected: '('")]
        {
            let refusal = LabelSelector::parse(bad).unwrap_err();
            assert!(refusal.to_string().contains(why), "{refusal}");
        }
        assert_eq!(
            FieldSelector::parse("spec.color=red").unwrap_err().to_string(),
            "field label not supported: spec.color"
        );
    }

    #[test]
    fn a_field_that_is_not_set_is_the_empty_text() {
        let bound = json!({"spec": {"nodeName": "node1"}});
        let free = json!({"spec": {}});
        let on_node1 = FieldSelector::parse("spec.nodeName=node1").unwrap();
        let unbound = FieldSelector::parse("spec.nodeName=").unwrap();
        assert!(on_node1.matches(&bound) && !on_node1.matches(&free));
        assert!(!unbound.matches(&bound) && unbound.matches(&free));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in ".{0,60}") {
            let object = json!({"metadata": {"labels": {"a": "b"}}});
            if let Ok(labels) = LabelSelector::parse(&text) {
                labels.matches(&object);
            }
            if let Ok(fields) = FieldSelector::parse(&text) {
                fields.matches(&object);
            }
        }

        #[test]
        fn equality_and_its_denial_are_opposites(key in "[a-c]", value in "[a-c]", label in "[a-c]") {
            let object = json!({"metadata": {"labels": {"a": label}}});
            let equal = LabelSelector::parse(&format!("{key}={value}")).unwrap();
            let unequal = LabelSelector::parse(&format!("{key}!={value}")).unwrap();
            prop_assert_ne!(equal.matches(&object), unequal.matches(&object));
        }
    }
}

//! A strict reader of both formats, for tests only: whatever a real parser might stumble over is
//! an error here.

use std::collections::BTreeMap;

use crate::format::Format;

/// A family as read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    /// By sample name and labels.
    pub(crate) samples: BTreeMap<(String, Labels), String>,
}

pub(crate) type Labels = BTreeMap<String, String>;

/// Reads a whole exposition, or panics with what is wrong.
pub(crate) fn read(text: &str, format: Format) -> BTreeMap<String, Read> {
    let text = text.strip_suffix('\n').expect("the last line must end");
    let mut lines: Vec<_> = text.split('\n').collect();
    if format == Format::OpenMetrics {
        assert_eq!(lines.pop(), Some("# EOF"));
    }
    let mut families = BTreeMap::<String, Read>::new();
    let mut current = String::new();
    for line in lines {
        assert!(!line.is_empty(), "an empty line");
        if let Some(comment) = line.strip_prefix("# ") {
            let (word, rest) = comment.split_once(' ').expect(line);
            let (name, value) = rest.split_once(' ').expect(line);
            if name != current {
                assert!(!families.contains_key(name), "{name} stands in two places");
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "{line} after samples");
            match word {
                "HELP" => family.help = unescape(value),
                "TYPE" => value.clone_into(&mut family.kind),
                "UNIT" => {
                    assert_eq!(format, Format::OpenMetrics);
                    assert!(name.ends_with(&format!("_{value}")), "{line}");
                    family.unit = Some(value.to_owned());
                }
                _ => panic!("{line}"),
            }
        } else {
            let family = families.get_mut(&current).expect("a header comes first");
            let (name, labels, value) = sample(line);
            assert!(belongs(&name, &current, &family.kind, format), "{name} in {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let twice = family.samples.insert((name, labels), value);
            assert_eq!(twice, None, "{line} stands twice");
        }
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty(), "{name} is empty");
        assert!(!family.help.is_empty() && !family.kind.is_empty(), "{name} is bare");
    }
    families
}

fn belongs(sample: &str, family: &str, kind: &str, format: Format) -> bool {
    let suffixes: &[&str] = match (format, kind) {
        (_, "histogram") => &["_bucket", "_sum", "_count"],
        (Format::OpenMetrics, "counter") => &["_total"],
        (Format::OpenMetrics, "info") => &["_info"],
        (_, "gauge") | (Format::Text, "counter") => &[""],
        _ => panic!("{family} is of no known kind: {kind}"),
    };
    sample.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix))
}

fn sample(line: &str) -> (String, Labels, String) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            let (value, after) = after.split_at(closing_quote(after).expect(line));
            let twice = labels.insert(label.to_owned(), unescape(value));
            assert_eq!(twice, None, "{label} stands twice in {line}");
            rest = after.strip_prefix('"').expect(line);
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name.to_owned(), labels, without_exemplar(value).to_owned())
}

/// The value; what an exemplar says is of the form it must have.
fn without_exemplar(text: &str) -> &str {
    let Some((value, exemplar)) = text.split_once(" # {") else {
        return text;
    };
    let (labels, after) = exemplar.split_once("} ").expect(exemplar);
    assert!(labels.len() <= 128, "{labels}");
    assert!(after.split(' ').all(|number| number.parse::<f64>().is_ok()), "{after}");
    assert_eq!(after.split(' ').count(), 2, "{after}");
    value
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        out.push(match letters.next() {
            Some('n') => '\n',
            Some(known @ ('\\' | '"')) => known,
            other => panic!("no such escape: {other:?}"),
        });
    }
    out
}

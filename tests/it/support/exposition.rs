//! What `/metrics` says, as series.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The label that names a container.
const CONTAINER: &str = "container";
/// The label that names a pod's namespace.
const NAMESPACE: &str = "namespace";
/// How many series a failure's message shows.
const SHOWN: usize = 20;

/// A series' name and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    /// The metric's name.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
}

/// Several scrapes together: of each series the latest value. An ended container's series are
/// shown for a few scrapes only, so one scrape is not the whole story.
///
/// Kept by the series' name and its `container`: a thousand containers are asked for one by one, and a
/// look through all series for each of them would take minutes on a busy machine.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    series: BTreeMap<String, BTreeMap<String, BTreeMap<Series, f64>>>,
    /// Series of other namespaces than this one are not entered.
    namespace: Option<String>,
    /// The name and labels of the last question: a scenario that asks until it is satisfied has failed there.
    asked: RefCell<String>,
}

impl Series {
    /// A label's value, empty where there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Ledger {
    /// One without the series of other namespaces' pods: on a shared node another scenario may have a pod of
    /// the same name.
    pub(crate) fn of_namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::default() }
    }

    /// Enters one scrape's text.
    ///
    /// # Panics
    /// At a line that is none of the text format.
    pub(crate) fn enter(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = parse(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let of = series.label(NAMESPACE);
            if self.namespace.as_ref().is_some_and(|own| !of.is_empty() && of != own) {
                continue;
            }
            let named = self.series.entry(series.name.clone()).or_default();
            let of_container = named.entry(series.label(CONTAINER).to_owned()).or_default();
            of_container.insert(series, value);
        }
    }

    /// Every series of a name with its value.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&Series, f64)> {
        let named = self.series.get(name).into_iter().flat_map(BTreeMap::values);
        named.flatten().map(|(series, value)| (series, *value))
    }

    /// Every series of a name that carries all these labels, with its value.
    pub(crate) fn with<'a>(
        &'a self,
        name: &str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Series, f64)> {
        *self.asked.borrow_mut() = format!("{name} {labels:?}");
        let container = labels.iter().find(|(key, _)| *key == CONTAINER);
        let of_container = move |named: &'a BTreeMap<_, _>| -> Vec<&'a BTreeMap<Series, f64>> {
            match container {
                Some((_, container)) => named.get(*container).into_iter().collect(),
                None => named.values().collect(),
            }
        };
        let named = self.series.get(name).into_iter().flat_map(of_container).flatten();
        named
            .map(|(series, value)| (series, *value))
            .filter(|(series, _)| labels.iter().all(|(key, value)| series.label(key) == *value))
    }

    /// The sum over the series of a name that carry all these labels; `None` where there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.with(name, labels).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// What was asked for last, and what there is of that name.
    pub(crate) fn last_question(&self) -> String {
        let asked = self.asked.borrow();
        let name = asked.split(' ').next().unwrap_or_default();
        let shown = self.all(name).take(SHOWN);
        let shown = shown.map(|(series, value)| format!("\n{value} {:?}", series.labels));
        format!(
            "asked last for {asked} of {} series:{}",
            self.all(name).count(),
            shown.collect::<String>()
        )
    }
}

/// `name{label="value",...} value`.
fn parse(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((Series { name: name.to_owned(), labels }, value))
}

/// A label value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[test]
fn a_sample_is_read_with_its_escapes() {
    let mut ledger = Ledger::default();
    ledger.enter("# HELP a b\na{x=\"1\\\"\\n}\",y=\"\"} 2.5\na{x=\"2\"} 1 1700\nb 3\n");
    assert_eq!(ledger.sum("a", &[("x", "1\"\n}")]), Some(2.5));
    assert_eq!(ledger.sum("a", &[]), Some(3.5));
    assert_eq!(ledger.sum("c", &[]), None);
}

#[test]
fn series_are_found_by_their_container_and_without_it() {
    let mut ledger = Ledger::default();
    ledger.enter("a{container=\"one\",x=\"1\"} 1\na{container=\"one\",x=\"2\"} 2\na 4\n");
    assert_eq!(ledger.sum("a", &[("container", "one")]), Some(3.0));
    assert_eq!(ledger.sum("a", &[("container", "one"), ("x", "2")]), Some(2.0));
    assert_eq!(ledger.sum("a", &[("container", "")]), Some(4.0));
    assert_eq!(ledger.sum("a", &[]), Some(7.0));
    assert_eq!(ledger.all("a").count(), 3);
}

#[test]
fn a_ledger_of_a_namespace_has_nothing_of_others_and_tells_what_was_asked_for_last() {
    let mut ledger = Ledger::of_namespace("own");
    ledger.enter("a{namespace=\"own\"} 1\na{namespace=\"other\"} 2\na{namespace=\"\"} 4\na 8\n");
    assert_eq!(ledger.sum("a", &[]), Some(13.0));
    assert_eq!(ledger.sum("a", &[("namespace", "other")]), None);
    let question = ledger.last_question();
    assert!(question.starts_with("asked last for a [(\"namespace\", \"other\")] of 3 series:\n"));
    assert_eq!(question.lines().count(), 4, "{question}");
}

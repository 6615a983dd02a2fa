//! What the agent reported, merged from all scrapes as Prometheus would. Pure.
//!
//! It has its own parser of the text format on purpose: the check must not share code with what it
//! checks.

use std::collections::BTreeMap;

/// Namespace, pod, container.
pub(super) type Who = (String, String, String);

/// Everything that was ever reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) containers: BTreeMap<Who, Series>,
    /// `ephemon_agent_final_readings_total` by quality, in the last scrape.
    pub(super) finals: BTreeMap<String, u64>,
    /// `ephemon_agent_log_lag_bytes` in the last scrape: bytes that containers wrote and that are
    /// not delivered yet.
    pub(super) lag_bytes: u64,
}

/// The last values of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Series {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) end_time: Option<f64>,
    pub(super) memory_peak_bytes: Option<f64>,
}

/// One sample line.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

// === impl Shown ===

impl Shown {
    /// Adds one scrape. The values of a container that has ended are final.
    pub(super) fn enter(&mut self, page: &str) {
        for sample in page.lines().filter_map(parse) {
            if sample.name == "ephemon_agent_final_readings_total" {
                let quality = sample.labels.get("quality").cloned().unwrap_or_default();
                self.finals.insert(quality, whole(sample.value));
                continue;
            }
            if sample.name == "ephemon_agent_log_lag_bytes" {
                self.lag_bytes = whole(sample.value);
                continue;
            }
            let field: fn(&mut Series) -> &mut Option<f64> = match sample.name {
                "ephemon_container_cpu_usage_seconds_total" => |series| &mut series.cpu_seconds,
                "ephemon_container_end_time_seconds" => |series| &mut series.end_time,
                "ephemon_container_memory_peak_bytes" => |series| &mut series.memory_peak_bytes,
                _ => continue,
            };
            let label = |key| sample.labels.get(key).cloned().unwrap_or_default();
            let who = (label("namespace"), label("pod"), label("container"));
            *field(self.containers.entry(who).or_default()) = Some(sample.value);
        }
    }

    /// Number of final readings with this quality.
    pub(super) fn finals(&self, quality: &str) -> u64 {
        self.finals.get(quality).copied().unwrap_or(0)
    }
}

/// A counter of whole numbers below 2^53.
fn whole(value: f64) -> u64 {
    format!("{:.0}", value.max(0.0)).parse().unwrap_or(0)
}

/// Parses `name{label="value",…} value`; `None` for comments and invalid lines.
fn parse(line: &str) -> Option<Sample<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let mut labels = BTreeMap::new();
    let (name, rest) = match line.split_once('{') {
        None => line.split_once(' ')?,
        Some((name, mut rest)) => loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(rest) = rest.strip_prefix('}') {
                break (name, rest);
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = unquote(after)?;
            labels.insert(key, value);
            rest = after;
        },
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// The value of a label up to its closing quote, and the rest.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at.checked_add(1)?..)?)),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn series_that_vanish_keep_what_they_showed_last() {
        let mut shown = Shown::default();
        let labels = r#"namespace="default",pod="p",container="c",container_type="ephemeral""#;
        shown.enter(&format!(
            "# HELP x y\nephemon_container_cpu_usage_seconds_total{{{labels}}} 0.25\n"
        ));
        shown.enter(&format!(
            "ephemon_container_cpu_usage_seconds_total{{{labels}}} 0.5\nephemon_container_end_time_seconds{{{labels}}} 1.7e9\n"
        ));
        shown.enter("ephemon_agent_final_readings_total{quality=\"exact\"} 1\n");
        let who = ("default".to_owned(), "p".to_owned(), "c".to_owned());
        let series = shown.containers[&who];
        assert_eq!((series.cpu_seconds, series.end_time), (Some(0.5), Some(1.7e9)));
        assert_eq!((shown.finals("exact"), shown.finals("residual")), (1, 0));
    }

    #[test]
    fn escaped_label_values_are_read() {
        let sample = parse(r#"x{a="q\"\\\n}",b="2"} 3 1700000000"#).unwrap();
        assert_eq!(sample.labels["a"], "q\"\\\n}");
        assert_eq!((sample.labels["b"].as_str(), sample.value), ("2", 3.0));
        for bad in ["", "x", "x{", "x{a=\"} 1", "x{a} 1", "x one"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_reader(line in ".{0,80}") {
            parse(&line);
        }

        #[test]
        fn what_is_escaped_comes_back(value in "\\PC{0,20}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let line = format!("x{{a=\"{escaped}\"}} 1");
            let sample = parse(&line).unwrap();
            prop_assert_eq!(&sample.labels["a"], &value);
        }
    }
}

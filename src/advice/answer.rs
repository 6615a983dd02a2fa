//! The JSON of Prometheus' API (<https://prometheus.io/docs/prometheus/latest/querying/api/>). Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Most bytes of an error that are repeated.
const MOST_ERROR_CHARS: usize = 400;

/// One series' value at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Why there are no samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Prometheus refused.
    #[error("Prometheus says: {0}")]
    Refused(String),
    /// Not Prometheus.
    #[error("the answer is not one of Prometheus' API ({0}); is the URL that of its root?")]
    NotPrometheus(String),
}

#[derive(Deserialize)]
struct Envelope<Data> {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// A time, and a float as text. Native histograms have none.
    value: Option<(f64, String)>,
}

/// The samples of an instant query's answer. What is no number is left out.
pub fn vector(body: &[u8]) -> Result<Vec<Sample>, AnswerError> {
    let vector: Vector = data(body)?;
    if vector.result_type != "vector" {
        return Err(not_prometheus("the result is no vector"));
    }
    let sample = |series: Series| {
        let value: f64 = series.value?.1.parse().ok()?;
        value.is_finite().then_some(Sample { labels: series.metric, value })
    };
    Ok(vector.result.into_iter().filter_map(sample).collect())
}

/// The names of labels in an answer to `/api/v1/labels`.
pub fn label_names(body: &[u8]) -> Result<Vec<String>, AnswerError> {
    data(body)
}

fn data<Data: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<Data, AnswerError> {
    let envelope: Envelope<Data> =
        serde_json::from_slice(body).map_err(|error| not_prometheus(&error.to_string()))?;
    match (envelope.status.as_str(), envelope.data) {
        ("success", Some(data)) => Ok(data),
        ("error", _) => {
            let said = envelope.error.unwrap_or_else(|| "no reason".to_owned());
            Err(AnswerError::Refused(short(&said)))
        }
        _ => Err(not_prometheus("it has no data")),
    }
}

fn not_prometheus(why: &str) -> AnswerError {
    AnswerError::NotPrometheus(short(why))
}

fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MOST_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_what_is_no_number_is_not() {
        let body =
            br#"{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[
            {"metric":{"pod":"a"},"value":[1.5,"2.5"]},
            {"metric":{"pod":"b"},"value":[1,"NaN"]},
            {"metric":{"pod":"c"},"value":[1,"+Inf"]},
            {"metric":{"pod":"d"},"histogram":[1,{"count":"1"}]}]}}"#;
        let samples = vector(body).unwrap();
        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].labels["pod"].as_str(), samples[0].value), ("a", 2.5));
        let names = label_names(br#"{"status":"success","data":["a","b"]}"#).unwrap();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_refusal_is_repeated_in_short_and_anything_else_is_not_prometheus() {
        let said =
            format!("{{\"status\":\"error\",\"error\":\"bad\\u001b[31m{}\"}}", "x".repeat(999));
        let Err(AnswerError::Refused(why)) = vector(said.as_bytes()) else { panic!("{said}") };
        assert!(why.starts_with("bad[31mxxx") && why.len() == MOST_ERROR_CHARS);
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[]}}"#,
        ] {
            assert!(
                matches!(vector(body.as_bytes()), Err(AnswerError::NotPrometheus(_))),
                "{body}"
            );
        }
    }
}

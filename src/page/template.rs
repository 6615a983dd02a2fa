//! Links to other systems, from templates that the operator sets. Pure.

use std::fmt;
use std::str::FromStr;

use ephemon_jobs::Job;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest template in bytes.
const MAX_BYTES: usize = 2048;

/// A URL with places for values of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// A value of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    TraceId,
    Namespace,
    Pod,
    PodUid,
    Repository,
    RunId,
    RunAttempt,
    Job,
    StartMs,
    EndMs,
}

/// The text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It leads nowhere that a browser may go.
    #[error("a URL must begin with https:// or http://")]
    Scheme,
    /// It has a place of another name.
    #[error("{{{0}}} is not known; use {known}", known = Place::names())]
    Place(String),
    /// A brace without its other.
    #[error("a {{ has no }}")]
    Brace,
    /// It is too long.
    #[error("a URL is longer than {MAX_BYTES} bytes")]
    TooLong,
}

// === impl Place ===

impl Place {
    const ALL: [Self; 10] = [
        Self::TraceId,
        Self::Namespace,
        Self::Pod,
        Self::PodUid,
        Self::Repository,
        Self::RunId,
        Self::RunAttempt,
        Self::Job,
        Self::StartMs,
        Self::EndMs,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::TraceId => "trace_id",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::PodUid => "pod_uid",
            Self::Repository => "repository",
            Self::RunId => "run_id",
            Self::RunAttempt => "run_attempt",
            Self::Job => "job",
            Self::StartMs => "start_ms",
            Self::EndMs => "end_ms",
        }
    }

    fn names() -> String {
        Self::ALL.map(|place| format!("{{{}}}", place.name())).join(", ")
    }

    /// The job's value, if it is known.
    fn value(self, job: &Job, now_ms: u64) -> Option<String> {
        let identity = &job.identity;
        let ms = |ns: u64| (ns / 1_000_000).to_string();
        Some(match self {
            Self::TraceId => job.span.trace_id.to_string(),
            Self::Namespace => job.pod.namespace.to_string(),
            Self::Pod => job.pod.name.to_string(),
            Self::PodUid => job.pod.uid.to_string(),
            Self::Repository => identity.repository.as_deref()?.to_owned(),
            Self::RunId => identity.run.as_ref()?.0.to_string(),
            Self::RunAttempt => identity.run.as_ref()?.1.to_string(),
            Self::Job => identity.name().to_owned(),
            Self::StartMs => ms(job.window.start.ns),
            Self::EndMs => job.window.end.map_or_else(|| now_ms.to_string(), |end| ms(end.ns)),
        })
    }
}

// === impl Template ===

impl Template {
    /// The URL for a job; nothing where a value is not known.
    pub(crate) fn expand(&self, job: &Job, now_ms: u64) -> Option<String> {
        let mut url = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => url.push_str(text),
                Piece::Place(place) => {
                    let value = place.value(job, now_ms)?;
                    url.extend(utf8_percent_encode(&value, ENCODED));
                }
            }
        }
        Some(url)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(TemplateError::Scheme);
        }
        if text.len() > MAX_BYTES {
            return Err(TemplateError::TooLong);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(TemplateError::Brace)?;
            let place = Place::ALL.into_iter().find(|place| place.name() == name);
            let place = place.ok_or_else(|| TemplateError::Place(name.to_owned()))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Place(place));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Place(place) => write!(f, "{{{}}}", place.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ephemon_jobs::story::Story;

    use super::*;

    fn job() -> Job {
        Story::whole().job_evidence().job(None).unwrap()
    }

    #[test]
    fn values_are_encoded_and_an_unknown_one_gives_no_link() {
        let mut job = job();
        let template: Template = "https://x/{trace_id}?q={repository}&{run_id}".parse().unwrap();
        let trace = job.span.trace_id;
        let url = format!("https://x/{trace}?q=o%2Fr&14460881260");
        assert_eq!(template.expand(&job, 0), Some(url));
        job.identity.repository = Some(Arc::from("\"><script>/../%"));
        let url = template.expand(&job, 0).unwrap();
        assert!(url.contains("%22%3E%3Cscript%3E%2F..%2F%25&"), "{url}");
        job.identity.repository = None;
        assert_eq!(template.expand(&job, 0), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Template>().unwrap_err();
        assert_eq!(error("javascript:alert(1)//{pod}"), TemplateError::Scheme);
        assert_eq!(error("https://x/{nothing}"), TemplateError::Place("nothing".into()));
        assert!(error("https://x/{nothing}").to_string().contains("{trace_id}"));
        assert_eq!(error("https://x/{pod"), TemplateError::Brace);
        assert_eq!(error(&format!("https://{}", "x".repeat(3000))), TemplateError::TooLong);
        for text in ["https://x/", "http://x/{start_ms}-{end_ms}/{pod_uid}{job}"] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
    }
}

//! An operator's own mapping: from which label, annotation or variable of a pod a field of its job is
//! taken. Pure.

use std::fmt;
use std::str::FromStr;

use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::{short, url};

/// `FIELD=SOURCE:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    field: Field,
    source: Source,
    name: String,
}

/// What is wrong with a mapping's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It is not of the form.
    #[error("`{0}` is not FIELD=SOURCE:NAME, such as repository=label:example.com/repository")]
    Form(String),
    /// The field is unknown.
    #[error("`{0}` is not a field of a job; the fields are {fields}", fields = Field::list())]
    Field(String),
    /// The source is unknown.
    #[error("`{0}` is not a source; the sources are label, annotation and env")]
    Source(String),
    /// The name cannot be a label's, annotation's or variable's.
    #[error("`{0}` cannot be the name of {1}")]
    Name(String, &'static str),
    /// The variable's name says that it holds a secret.
    #[error("the variable `{0}` is not read: by its name it holds a secret")]
    Secret(String),
}

/// A field of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Repository,
    RepositoryUrl,
    Provider,
    Pipeline,
    Run,
    RunUrl,
    Job,
    JobTitle,
    JobUrl,
    Commit,
    Ref,
    Worker,
}

/// Where its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Label,
    Annotation,
    Env,
}

/// Parts of a variable's name that say that its value is a secret.
const SECRET: [&str; 7] =
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "PRIVATE_KEY"];
/// Longest name of a label's or annotation's key, prefix and slash included.
const MAX_KEY: usize = 253 + 1 + 63;

// === impl Field ===

impl Field {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Repository, "repository"),
        (Self::RepositoryUrl, "repository-url"),
        (Self::Provider, "provider"),
        (Self::Pipeline, "pipeline"),
        (Self::Run, "run"),
        (Self::RunUrl, "run-url"),
        (Self::Job, "job"),
        (Self::JobTitle, "job-title"),
        (Self::JobUrl, "job-url"),
        (Self::Commit, "commit"),
        (Self::Ref, "ref"),
        (Self::Worker, "worker"),
    ];

    fn as_str(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    fn list() -> String {
        Self::ALL.map(|(_, name)| name).join(", ")
    }
}

// === impl Source ===

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
            Self::Env => "env",
        }
    }

    /// As a sentence names one.
    fn a_thing(self) -> &'static str {
        match self {
            Self::Label => "a label",
            Self::Annotation => "an annotation",
            Self::Env => "a variable",
        }
    }

    fn can_be(self, name: &str) -> bool {
        match self {
            Self::Label | Self::Annotation => is_key(name),
            Self::Env => {
                let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
                !name.is_empty() && name.len() <= MAX_KEY && name.bytes().all(is_letter)
            }
        }
    }
}

/// A qualified name: `[PREFIX/]NAME`.
fn is_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(a, b)| (Some(a), b));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
    let is_name = |text: &str, inner: &[u8], most: usize| {
        let bytes = text.as_bytes();
        let ends =
            bytes.first().zip(bytes.last()).is_some_and(|(a, b)| is_letter(*a) && is_letter(*b));
        ends && bytes.len() <= most
            && bytes.iter().all(|byte| is_letter(*byte) || inner.contains(byte))
    };
    is_name(name, b"-_.", 63) && prefix.is_none_or(|prefix| is_name(prefix, b"-.", 253))
}

// === impl Mapping ===

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let form = || MappingError::Form(text.to_owned());
        let (field, place) = text.trim().split_once('=').ok_or_else(form)?;
        let (source, name) = place.split_once(':').ok_or_else(form)?;
        let known = Field::ALL.into_iter().find(|(_, name)| *name == field);
        let (field, _) = known.ok_or_else(|| MappingError::Field(field.to_owned()))?;
        let sources = [Source::Label, Source::Annotation, Source::Env];
        let known = sources.into_iter().find(|known| known.as_str() == source);
        let source = known.ok_or_else(|| MappingError::Source(source.to_owned()))?;
        if !source.can_be(name) {
            return Err(MappingError::Name(name.to_owned(), source.a_thing()));
        }
        let upper = name.to_ascii_uppercase();
        if source == Source::Env && SECRET.iter().any(|part| upper.contains(part)) {
            return Err(MappingError::Secret(name.to_owned()));
        }
        Ok(Self { field, source, name: name.to_owned() })
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.field.as_str(), self.source.as_str(), self.name)
    }
}

/// What the mappings find in a pod, over what its system says; `None` where they find nothing. Of two
/// mappings of one field the first that finds something counts.
pub(super) fn apply(own: &[Mapping], pod: PodFacts<'_>, mut said: Said) -> Option<Said> {
    let (mut found, mut entered) = (false, Vec::new());
    for Mapping { field, source, name } in own {
        let value = match source {
            Source::Label => pod.label(name),
            Source::Annotation => pod.annotation(name),
            Source::Env => pod.any_env(name),
        };
        let Some(value) = value.filter(|_| !entered.contains(field)) else { continue };
        let value = match field {
            Field::RepositoryUrl | Field::RunUrl | Field::JobUrl => url(value),
            _ => short(value),
        };
        let Some(value) = value else { continue };
        found = true;
        entered.push(*field);
        if *field == Field::Run {
            // Names of runs are unique in a namespace at best.
            said.run_key = run_key([Some("custom"), Some(pod.namespace()), Some(&value)]);
        }
        let place = match field {
            Field::Repository => &mut said.repository,
            Field::RepositoryUrl => &mut said.repository_url,
            Field::Provider => &mut said.provider,
            Field::Pipeline => &mut said.pipeline,
            Field::Run => &mut said.run,
            Field::RunUrl => &mut said.run_url,
            Field::Job => &mut said.job,
            Field::JobTitle => &mut said.display_name,
            Field::JobUrl => &mut said.job_url,
            Field::Commit => &mut said.commit,
            Field::Ref => &mut said.git_ref,
            Field::Worker => &mut said.runner,
        };
        *place = Some(value);
    }
    found.then_some(said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mapping_reads_back_as_it_was_written() {
        for text in [
            "repository=label:foo/bar",
            "run=annotation:baz",
            "job-title=annotation:ci.example.com/title",
            "commit=env:GIT_COMMIT",
        ] {
            assert_eq!(text.parse::<Mapping>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, sentence) in [
            ("", "`` is not FIELD=SOURCE:NAME"),
            ("repository", "is not FIELD=SOURCE:NAME"),
            ("repository=foo/bar", "is not FIELD=SOURCE:NAME"),
            ("repo=label:foo", "`repo` is not a field of a job; the fields are repository,"),
            ("run=field:metadata.name", "`field` is not a source; the sources are label"),
            ("run=label:a b", "`a b` cannot be the name of a label"),
            ("run=annotation:/b", "`/b` cannot be the name of an annotation"),
            ("run=annotation:-b", "cannot be the name of an annotation"),
            ("run=env:", "`` cannot be the name of a variable"),
            ("run=env:CI_JOB_TOKEN", "the variable `CI_JOB_TOKEN` is not read"),
            ("run=env:db_password", "by its name it holds a secret"),
        ] {
            let error = text.parse::<Mapping>().unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>(), name in any::<String>()) {
            drop(text.parse::<Mapping>());
            drop(format!("run=label:{name}").parse::<Mapping>());
        }
    }
}

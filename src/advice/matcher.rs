//! Which jobs are wanted. Pure.

use std::fmt::Write as _;

use super::labels::Labels;

/// Most bytes of a matcher's value.
const MOST_VALUE_BYTES: usize = 1024;

/// One label and its value: only such jobs count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub(crate) label: Matched,
    pub(crate) value: String,
}

/// What a matcher is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    Cluster,
    Namespace,
    Organization,
    Repository,
    Workflow,
    Job,
}

/// Why a matcher cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// There is no `=`.
    #[error("expected LABEL=VALUE, such as repository=octo/hello")]
    NoValue,
    /// No label of jobs.
    #[error(
        "jobs have no label {0:?}; there are cluster, namespace, organization, repository, workflow \
         and job"
    )]
    NoLabel(String),
    /// Too long.
    #[error("a value has at most {MOST_VALUE_BYTES} bytes")]
    TooLong,
}

// === impl Matcher ===

impl Matcher {
    /// Reads `LABEL=VALUE`.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let (label, value) = text.split_once('=').ok_or(MatcherError::NoValue)?;
        let label = match label.trim() {
            "cluster" => Matched::Cluster,
            "namespace" => Matched::Namespace,
            "organization" => Matched::Organization,
            "repository" => Matched::Repository,
            "workflow" => Matched::Workflow,
            "job" | "job_id" => Matched::Job,
            other => return Err(MatcherError::NoLabel(other.chars().take(64).collect())),
        };
        if value.len() > MOST_VALUE_BYTES {
            return Err(MatcherError::TooLong);
        }
        Ok(Self { label, value: value.to_owned() })
    }

    pub(crate) fn write(&self, labels: &Labels, to: &mut Vec<String>) {
        let mut equal = |name: &str, value: &str| to.push(format!("{name}={}", quoted(value)));
        match (self.label, self.value.split_once('/')) {
            (Matched::Repository, Some((organization, repository))) => {
                equal("organization", organization);
                equal("repository", repository);
            }
            (Matched::Repository, None) => equal("repository", &self.value),
            (Matched::Cluster, _) => equal("cluster", &self.value),
            (Matched::Namespace, _) => equal(labels.namespace, &self.value),
            (Matched::Organization, _) => equal("organization", &self.value),
            (Matched::Workflow, _) => equal("workflow", &self.value),
            (Matched::Job, _) => equal("job_id", &self.value),
        }
    }
}

/// As a string of `PromQL`, which escapes as Go does.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            letter if letter.is_control() => {
                write!(quoted, "\\U{:08x}", u32::from(letter)).ok();
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

//! The runner's request on standard input: one JSON document, camel case, with nulls.
//!
//! As actions/runner 2.336 writes it (`HookInput.cs`, `ContainerInfo.cs`), which differs from the
//! published examples. Fields may be null, empty or absent, with the same meaning.

mod fields;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::state::State;
use fields::{Wrong, empty_is_none, null_is_default, one_or_many, read};

/// Most bytes of a request that are read; it contains the environment of a job or a step.
pub(super) const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// One call of the hook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) command: Command,
    /// An empty file that the runner created for the response; absent in calls without response.
    pub(super) response_file: Option<PathBuf>,
    /// The state from the response of an earlier call.
    pub(super) state: Option<State>,
}

/// The command of a request.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub(super) enum Command {
    PrepareJob(PrepareJob),
    RunScriptStep(ScriptStep),
    RunContainerStep(Box<Container>),
    CleanupJob,
}

/// `prepare_job`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PrepareJob {
    /// Absent in a job with services only.
    pub(super) container: Option<Container>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) services: Vec<Container>,
}

/// A job container, a service, or the arguments of `run_container_step`.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    /// The service's name in the workflow. The runner does not send it.
    #[serde(skip)]
    pub(super) key: Option<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) image: Option<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) dockerfile: Option<String>,
    /// Split at every space by the runner, with the quotes as written.
    #[serde(deserialize_with = "null_is_default")]
    pub(super) entry_point_args: Vec<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) entry_point: Option<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) working_directory: Option<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) create_options: Option<String>,
    pub(super) registry: Option<Registry>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) environment_variables: BTreeMap<String, Option<String>>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) port_mappings: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) system_mount_volumes: Vec<Mount>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) user_mount_volumes: Vec<Mount>,
}

/// A volume of `volumes:`, or one that the runner adds itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Mount {
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) user_provided_value: Option<String>,
    /// The path on the runner's side; `None` if only a target was given.
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) source_volume_path: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) target_volume_path: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) read_only: bool,
}

/// The registry of an image and the user name for it. The password is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Registry {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) username: String,
    /// Empty for Docker Hub.
    #[serde(deserialize_with = "null_is_default")]
    pub(super) server_url: String,
}

/// `run_script_step`.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScriptStep {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) entry_point: String,
    /// Split at every space by the runner, with empty pieces.
    #[serde(deserialize_with = "null_is_default")]
    pub(super) entry_point_args: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) environment_variables: BTreeMap<String, Option<String>>,
    /// The first has the highest priority.
    #[serde(deserialize_with = "one_or_many")]
    pub(super) prepend_path: Vec<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) working_directory: Option<String>,
}

/// Why a request is not valid.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the runner's request on standard input is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the runner's request has no {0}")]
    Missing(&'static str),
    #[error(
        "unknown command {0:?} in the runner's request; this hook supports prepare_job, run_script_step, run_container_step and cleanup_job"
    )]
    Unknown(String),
    #[error(
        "the runner's request is not valid: {0}; the runner may use an older or newer protocol"
    )]
    Malformed(Wrong),
    #[error(
        "the state of this job was written by another version of the hook ({0}); run the job again, and change the hook only between jobs"
    )]
    State(Wrong),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default, deserialize_with = "empty_is_none")]
    command: Option<String>,
    #[serde(default, deserialize_with = "empty_is_none")]
    response_file: Option<String>,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    state: Value,
}

// === impl Request ===

impl Request {
    /// Parses a request. Errors contain no values of it, because they may be secrets.
    pub(super) fn parse(input: &[u8]) -> Result<Self, Error> {
        let whole: Value = serde_json::from_slice(&text::repaired(input))
            .map_err(|error| Error::NotJson { line: error.line(), column: error.column() })?;
        let envelope: Envelope = read(&whole, fields::WHOLE).map_err(Error::Malformed)?;
        let name = envelope.command.ok_or(Error::Missing("command"))?;
        let command = match name.as_str() {
            "prepare_job" => {
                let job: PrepareJob = arguments(&envelope.args)?;
                if job.container.is_none() && job.services.is_empty() {
                    return Err(Error::Missing(
                        "args.container and no args.services: there is nothing to prepare",
                    ));
                }
                if envelope.response_file.is_none() {
                    return Err(Error::Missing(
                        "responseFile: the job's state cannot be returned without it",
                    ));
                }
                Command::PrepareJob(job)
            }
            "run_script_step" => {
                let step: ScriptStep = arguments(&envelope.args)?;
                if step.entry_point.trim().is_empty() {
                    return Err(Error::Missing("args.entryPoint for the script step"));
                }
                Command::RunScriptStep(step)
            }
            "run_container_step" => Command::RunContainerStep(Box::new(arguments(&envelope.args)?)),
            "cleanup_job" => Command::CleanupJob,
            other => return Err(Error::Unknown(super::console::quote(other))),
        };
        let state = match envelope.state {
            Value::Null => None,
            Value::Object(object) if object.is_empty() => None,
            state => Some(read(&state, "state").map_err(Error::State)?),
        };
        Ok(Self { command, response_file: envelope.response_file.map(PathBuf::from), state })
    }
}

fn arguments<T: serde::de::DeserializeOwned + Default>(args: &Value) -> Result<T, Error> {
    if args.is_null() {
        return Ok(T::default());
    }
    read(args, "args").map_err(Error::Malformed)
}

// === impl PrepareJob ===

impl PrepareJob {
    /// A copy with the services' names in the workflow; without change if they are unknown.
    pub(super) fn with_keys(&self, keys: Vec<String>) -> Self {
        let mut named = self.clone();
        for (service, key) in named.services.iter_mut().zip(keys) {
            service.key = Some(key);
        }
        named
    }
}

// === impl Container ===

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("image", &self.image).finish_non_exhaustive()
    }
}

impl Container {
    /// The environment; null becomes an empty value.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        env(&self.environment_variables)
    }
}

// === impl ScriptStep ===

impl std::fmt::Debug for ScriptStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptStep").field("entry_point", &self.entry_point).finish_non_exhaustive()
    }
}

impl ScriptStep {
    /// The environment; null becomes an empty value.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        env(&self.environment_variables)
    }
}

fn env(variables: &BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests;

//! What the runner says on standard input: one JSON document, camel case, nulls included.
//!
//! As actions/runner 2.336 writes it (`HookInput.cs`, `ContainerInfo.cs`), which differs from the
//! examples that are shown in public. Fields may be null, empty or absent alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::state::State;

/// Most bytes of a request that are read: the environment of a job and every step's is in it.
pub(super) const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// One call of the hook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) command: Command,
    /// A file the runner has made, empty; absent in calls that want no answer.
    pub(super) response_file: Option<PathBuf>,
    /// What an earlier answer said to keep.
    pub(super) state: Option<State>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
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
    /// Absent in a job of services only.
    pub(super) container: Option<Container>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) services: Vec<Container>,
}

/// A job container, a service, or the arguments of `run_container_step`.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) image: Option<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) dockerfile: Option<String>,
    /// Split at every blank by the runner: quotes arrive as they were written.
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

/// A volume of `volumes:` or one the runner adds itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Mount {
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) user_provided_value: Option<String>,
    /// On the runner's side; none where only a target was given.
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) source_volume_path: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) target_volume_path: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) read_only: bool,
}

/// Where an image comes from and who may have it. The password is not even read.
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
    /// Split at every blank by the runner, empty pieces kept.
    #[serde(deserialize_with = "null_is_default")]
    pub(super) entry_point_args: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) environment_variables: BTreeMap<String, Option<String>>,
    /// First has the highest priority.
    #[serde(deserialize_with = "one_or_many")]
    pub(super) prepend_path: Vec<String>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(super) working_directory: Option<String>,
}

/// A request that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the runner's request on standard input is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    /// The text of serde names fields and kinds, never values of strings.
    #[error("the runner's request has no {0}")]
    Missing(&'static str),
    #[error(
        "the runner asks for {0:?}, which this hook does not know; it knows prepare_job, run_script_step, run_container_step and cleanup_job"
    )]
    Unknown(String),
    #[error(
        "the {0} of the runner's request is not what it should be; does this runner speak an older or newer protocol?"
    )]
    Malformed(&'static str),
    #[error(
        "the state of this job was written by another version of the hook; run the job anew, and change the hook only between jobs"
    )]
    State,
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
    /// Reads a request. No error holds a value of it: there are secrets among them.
    pub(super) fn parse(input: &[u8]) -> Result<Self, Error> {
        let envelope: Envelope = serde_json::from_slice(input).map_err(|error| {
            if error.is_data() {
                Error::Malformed("envelope")
            } else {
                Error::NotJson { line: error.line(), column: error.column() }
            }
        })?;
        let name = envelope.command.ok_or(Error::Missing("command"))?;
        let command = match name.as_str() {
            "prepare_job" => Command::PrepareJob(arguments(envelope.args, "prepare_job")?),
            "run_script_step" => {
                let step: ScriptStep = arguments(envelope.args, "run_script_step")?;
                if step.entry_point.trim().is_empty() {
                    return Err(Error::Missing("entryPoint for the script step"));
                }
                Command::RunScriptStep(step)
            }
            "run_container_step" => {
                Command::RunContainerStep(Box::new(arguments(envelope.args, "run_container_step")?))
            }
            "cleanup_job" => Command::CleanupJob,
            other => return Err(Error::Unknown(other.chars().take(64).collect())),
        };
        let state = match envelope.state {
            Value::Null => None,
            Value::Object(object) if object.is_empty() => None,
            state => Some(serde_json::from_value(state).map_err(|_| Error::State)?),
        };
        Ok(Self { command, response_file: envelope.response_file.map(PathBuf::from), state })
    }
}

// === impl Container ===

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("image", &self.image).finish_non_exhaustive()
    }
}

impl Container {
    /// Its environment; null is empty.
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
    /// Its environment; null is empty.
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

fn arguments<T: DeserializeOwned + Default>(args: Value, what: &'static str) -> Result<T, Error> {
    if args.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(args).map_err(|_| Error::Malformed(what))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty()))
}

/// Runners before 2.294 sent one string.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    let paths = match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Either::One(path)) => vec![path],
        Some(Either::Many(paths)) => paths,
    };
    Ok(paths.into_iter().filter(|path| !path.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Request, Error> {
        Request::parse(format!("{value}\n").as_bytes())
    }

    #[test]
    fn null_empty_and_absent_fields_mean_the_same() {
        let absent =
            parse(&json!({"command": "prepare_job", "args": {"container": {"image": "a"}}}));
        let null = parse(&json!({
            "command": "prepare_job", "responseFile": null, "state": null,
            "args": {"container": {
                "image": "a", "dockerfile": null, "entryPointArgs": null, "entryPoint": null,
                "workingDirectory": null, "createOptions": null, "registry": null,
                "environmentVariables": null, "portMappings": null,
                "systemMountVolumes": null, "userMountVolumes": null,
            }, "services": null},
        }));
        let empty = parse(&json!({
            "command": "prepare_job", "responseFile": "", "state": {},
            "args": {"container": {
                "image": "a", "dockerfile": "", "entryPointArgs": [], "entryPoint": "",
                "workingDirectory": "", "createOptions": " ", "environmentVariables": {},
                "portMappings": [], "systemMountVolumes": [], "userMountVolumes": [],
            }, "services": []},
        }));
        let (absent, null, empty) = (absent.unwrap(), null.unwrap(), empty.unwrap());
        assert_eq!(absent, null);
        assert_eq!(absent, empty);
    }

    #[test]
    fn a_script_step_keeps_its_pieces_and_its_path_order() {
        let request = parse(&json!({
            "command": "run_script_step", "responseFile": "/r.json",
            "args": {
                "entryPoint": "sh", "entryPointArgs": ["-e", "", "\"/a", "b\""],
                "environmentVariables": {"A": "1", "B": null}, "prependPath": ["/first", "/second"],
                "workingDirectory": "/__w/r/r",
            },
            "state": null,
        }));
        let Command::RunScriptStep(step) = request.unwrap().command else { panic!("a step") };
        assert_eq!(step.entry_point_args, ["-e", "", "\"/a", "b\""]);
        assert_eq!(step.prepend_path, ["/first", "/second"]);
        assert_eq!(step.env(), [("A".into(), "1".into()), ("B".into(), String::new())]);
    }

    #[test]
    fn an_old_runners_single_prepend_path_is_taken() {
        let request = parse(&json!({
            "command": "run_script_step", "args": {"entryPoint": "sh", "prependPath": "/one"},
        }));
        let Command::RunScriptStep(step) = request.unwrap().command else { panic!("a step") };
        assert_eq!(step.prepend_path, ["/one"]);
    }

    #[test]
    fn what_cannot_be_understood_is_said_without_repeating_it() {
        let secret = "hunter2";
        let wrong = parse(&json!({
            "command": "run_script_step", "args": {"entryPoint": "sh", "environmentVariables": secret},
        }));
        assert!(!wrong.unwrap_err().to_string().contains(secret));
        assert!(matches!(Request::parse(b"{"), Err(Error::NotJson { .. })));
        assert!(matches!(Request::parse(b""), Err(Error::NotJson { .. })));
        assert!(matches!(parse(&json!({})), Err(Error::Missing("command"))));
        assert!(matches!(parse(&json!({"command": "dance"})), Err(Error::Unknown(_))));
        let blank = json!({"command": "run_script_step", "args": {}});
        assert!(matches!(parse(&blank), Err(Error::Missing(_))));
        let state = json!({"command": "cleanup_job", "args": {}, "state": {"odd": 1}});
        assert!(matches!(parse(&state), Err(Error::State)));
    }

    #[test]
    fn cleanup_has_empty_arguments() {
        let request = parse(&json!({"command": "cleanup_job", "args": {}, "state": null})).unwrap();
        assert_eq!(request.command, Command::CleanupJob);
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(Request::parse(&bytes));
        }
    }
}

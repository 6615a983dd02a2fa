//! The hook's state between calls. The runner keeps it in memory and passes it back; the hook
//! stores nothing on disk.

use std::collections::BTreeMap;
use std::fmt;

use ephemon_contract::{Token, is_container_name};
use serde::{Deserialize, Serialize};

/// The version of [`State`]; another version is rejected.
const VERSION: u32 = 1;

/// A job that was prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    version: Version,
    pub(super) token: StoredToken,
    /// `None` in a job with services only.
    pub(super) job: Option<Job>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    /// The hook's own container, if one holds names and ports.
    #[serde(default, deserialize_with = "container_name_if_any")]
    pub(super) network: Option<String>,
    /// Names that later containers get as well.
    #[serde(default)]
    pub(super) hosts: Vec<Host>,
}

/// The job container.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    #[serde(deserialize_with = "container_name")]
    pub(super) container: String,
    /// `container.env`, for every step; the step's own variables take precedence. Never in the
    /// pod's spec.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// `--user` by name: steps run as this user.
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) working_directory: Option<String>,
    /// Whether steps run through the API server, because init does not run.
    #[serde(default)]
    pub(super) by_exec: bool,
}

/// A service container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    #[serde(deserialize_with = "container_name")]
    pub(super) container: String,
    pub(super) image: String,
    /// Whether init is its first process.
    pub(super) has_init: bool,
    /// Whether the node's agent was asked to put init in front.
    #[serde(default)]
    pub(super) asks_init: bool,
    /// The Secret with its environment, if there is one.
    #[serde(default)]
    pub(super) secret: Option<String>,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) address: String,
    pub(super) names: Vec<String>,
}

/// The job's token as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredToken(pub(super) Token);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

// === impl State ===

impl State {
    /// The state of a job without containers yet.
    pub(super) fn new(token: Token) -> Self {
        Self {
            version: Version,
            token: StoredToken(token),
            job: None,
            services: Vec::new(),
            network: None,
            hosts: Vec::new(),
        }
    }
}

// === impl Job ===

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("container", &self.container).finish_non_exhaustive()
    }
}

// === impl StoredToken ===

impl Serialize for StoredToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for StoredToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Token::parse(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

// === impl Version ===

impl TryFrom<u32> for Version {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == VERSION { Ok(Self) } else { Err("another version of the state") }
    }
}

impl From<Version> for u32 {
    fn from(Version: Version) -> Self {
        VERSION
    }
}

/// Accepts only valid names of containers, because the state may have been changed by others.
fn container_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(String::deserialize(deserializer)?)
}

fn container_name_if_any<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(checked).transpose()
}

fn checked<E: serde::de::Error>(name: String) -> Result<String, E> {
    if is_container_name(&name) && name != "runner" {
        Ok(name)
    } else {
        Err(E::custom("not a container of a job"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let mut state = State::new(Token::from_random([7; 32]));
        state.job = Some(Job {
            container: "job".into(),
            env: [("A".to_owned(), "ü\n\"".to_owned())].into(),
            user: Some("node".into()),
            working_directory: None,
            by_exec: false,
        });
        state.hosts.push(Host { address: "127.0.0.1".into(), names: vec!["redis".into()] });
        let json = serde_json::to_value(&state).unwrap();
        assert_eq!(serde_json::from_value::<State>(json).unwrap(), state);
    }

    #[test]
    fn debug_shows_neither_token_nor_environment() {
        let token = Token::from_random([0xab; 32]);
        let mut state = State::new(token.clone());
        let env = [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
        state.job = Some(Job {
            container: "job".into(),
            env,
            user: None,
            working_directory: None,
            by_exec: false,
        });
        let shown = format!("{state:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(token.expose()), "{shown}");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let mut state = State::new(Token::from_random([7; 32]));
        for name in ["job", "../../etc/x", "runner", "", "Job"] {
            let (container, env) = (name.to_owned(), BTreeMap::new());
            state.job =
                Some(Job { container, env, user: None, working_directory: None, by_exec: false });
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(serde_json::from_value::<State>(json).is_ok(), name == "job", "{name}");
            state.job = None;
            state.network = Some(name.to_owned());
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(serde_json::from_value::<State>(json).is_ok(), name == "job", "{name}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut json = serde_json::to_value(State::new(Token::from_random([1; 32]))).unwrap();
        json["version"] = 2.into();
        assert!(serde_json::from_value::<State>(json).is_err());
    }
}

//! What init is told at its start: arguments and environment, read once.

use std::{ffi::OsString, path::PathBuf};

use crate::contract::{self, TokenDigest, Volume, env, mount};

/// Longest container name: a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// How to run.
#[derive(Debug)]
pub(super) struct Config {
    /// The shared volume.
    pub volume: Volume,
    /// The container's name.
    pub container: String,
    /// What a peer must show.
    pub token: TokenDigest,
    /// The only uid besides root and our own that may connect; any, when absent.
    pub peer_uid: Option<u32>,
    /// The container's main command, if it is given here and not over the socket.
    pub command: Option<Vec<String>>,
    /// What the main command is.
    pub kind: contract::StepKind,
    /// The hosts file.
    pub hosts: PathBuf,
    /// The mount of the container's cgroup.
    pub cgroup: PathBuf,
    /// Where the paths of links and files that are asked for begin; `/`, but for containers that
    /// have no root of their own.
    pub root: PathBuf,
}

/// What is wrong with it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    /// An unknown option.
    #[error(
        "unknown option {0:?}; usage: ephemon-init [--hosts FILE] [--cgroup DIRECTORY] [--root DIRECTORY] [-- COMMAND ARGUMENT...]"
    )]
    Option(String),
    /// An option without its value.
    #[error("{0} needs a value")]
    Value(&'static str),
    /// An argument that is not UTF-8.
    #[error("argument {0:?} is not utf-8")]
    Text(OsString),
    /// A variable that is missing or makes no sense.
    #[error("{name} is {what}; the hook sets it in the container's spec")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

// === impl Config ===

impl Config {
    /// Reads arguments (without the program's name) and environment.
    pub(super) fn read(
        args: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let bad = |name, what| ConfigError::Variable { name, what };
        let container = variable(env::CONTAINER).ok_or(bad(env::CONTAINER, "not set"))?;
        let is_label =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if container.is_empty()
            || container.len() > MAX_NAME_BYTES
            || !container.bytes().all(is_label)
        {
            return Err(bad(env::CONTAINER, "not a container's name"));
        }
        let token = variable(env::TOKEN_SHA256).ok_or(bad(env::TOKEN_SHA256, "not set"))?;
        let token =
            TokenDigest::parse(&token).map_err(|_| bad(env::TOKEN_SHA256, "not 64 hex digits"))?;
        let peer_uid = match variable(env::PEER_UID) {
            Some(uid) => Some(uid.parse().map_err(|_| bad(env::PEER_UID, "not a number"))?),
            None => None,
        };
        let kind = match variable(env::ROLE).as_deref() {
            Some("service") => contract::StepKind::Service,
            _ => contract::StepKind::Container,
        };
        let mut config = Self {
            volume: Volume::new(variable(env::VOLUME).unwrap_or_else(|| mount::EPHEMON.to_owned())),
            container,
            token,
            peer_uid,
            command: None,
            kind,
            hosts: PathBuf::from("/etc/hosts"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
            root: PathBuf::from("/"),
        };
        config.read_args(args)?;
        Ok(config)
    }

    fn read_args(&mut self, args: impl IntoIterator<Item = OsString>) -> Result<(), ConfigError> {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--") => break,
                Some("--hosts") => {
                    self.hosts = args.next().ok_or(ConfigError::Value("--hosts"))?.into();
                }
                Some("--cgroup") => {
                    self.cgroup = args.next().ok_or(ConfigError::Value("--cgroup"))?.into();
                }
                Some("--root") => {
                    self.root = args.next().ok_or(ConfigError::Value("--root"))?.into();
                }
                _ => return Err(ConfigError::Option(arg.to_string_lossy().into_owned())),
            }
        }
        let command: Vec<String> =
            args.map(OsString::into_string).collect::<Result<_, _>>().map_err(ConfigError::Text)?;
        self.command = (!command.is_empty()).then_some(command);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(args.iter().map(OsString::from), |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn variables() -> Vec<(&'static str, &'static str)> {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        vec![(env::CONTAINER, "job"), (env::TOKEN_SHA256, digest)]
    }

    #[test]
    fn a_command_follows_two_dashes() {
        let config =
            read(&["--hosts", "/tmp/h", "--", "redis-server", "--port", "1"], &variables());
        let config = config.expect("a configuration");
        assert_eq!(config.command.expect("a command"), ["redis-server", "--port", "1"]);
        assert_eq!(config.hosts, PathBuf::from("/tmp/h"));
        assert!(read(&[], &variables()).expect("a configuration").command.is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value) in [
            (env::CONTAINER, ""),
            (env::CONTAINER, "../x"),
            (env::CONTAINER, "A"),
            (env::TOKEN_SHA256, "short"),
            (env::PEER_UID, "runner"),
        ] {
            let mut variables = variables();
            variables.insert(0, (name, value));
            let error = read(&[], &variables).expect_err("an error");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(read(&[], &[]).is_err());
        assert_eq!(
            read(&["serve"], &variables()).err(),
            Some(ConfigError::Option("serve".to_owned()))
        );
        assert_eq!(read(&["--hosts"], &variables()).err(), Some(ConfigError::Value("--hosts")));
    }
}

//! `options:` of a container, in the grammar of `docker create`, as far as an ephemeral container
//! or its init supports them. Unsupported options are reported, never ignored silently.

mod flag;
mod grammar;
mod line;
mod publish;
mod value;
mod volume;

use ephemon_contract::{Limits, Tmpfs, Ulimit};

use super::request::Mount;

/// The supported options of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Options {
    pub(super) user: Option<String>,
    pub(super) workdir: Option<String>,
    /// Empty to remove the image's own entrypoint.
    pub(super) entrypoint: Option<String>,
    /// `NAME=VALUE`.
    pub(super) env: Vec<(String, String)>,
    pub(super) health: HealthOptions,
    pub(super) limits: Limits,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) privileged: bool,
    pub(super) security: Security,
    pub(super) read_only: bool,
    pub(super) pull: Option<Pull>,
    /// `--name`, `--hostname`, `--network-alias`: names under which other containers look it up.
    pub(super) names: Vec<String>,
    /// `--add-host` and `--link`: name and address.
    pub(super) hosts: Vec<(String, String)>,
    /// `--publish`.
    pub(super) publish: Vec<String>,
    /// `--volume` and `--mount`.
    pub(super) volumes: Vec<Mount>,
    /// `--tmpfs`, and `--mount` of that type.
    pub(super) tmpfs: Vec<Tmpfs>,
    pub(super) shm: SharedMemory,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) init: Option<bool>,
    /// `--cpu-quota` and `--cpu-period`, microseconds.
    cpu_quota: (i64, i64),
    /// An image, and the words after it.
    pub(super) trailing: Option<Trailing>,
    /// Options that are ignored, and why.
    pub(super) left: Vec<Left>,
}

/// `--health-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HealthOptions {
    pub(super) command: Option<String>,
    pub(super) interval_ms: Option<u32>,
    pub(super) timeout_ms: Option<u32>,
    pub(super) start_period_ms: Option<u32>,
    pub(super) retries: Option<u32>,
    pub(super) disabled: bool,
}

/// The size of `/dev/shm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SharedMemory {
    /// `--shm-size`.
    pub(super) bytes: Option<u64>,
    /// `--ipc=host`: as large as the node's.
    pub(super) is_hosts: bool,
}

/// `--security-opt`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) no_new_privileges: bool,
    pub(super) seccomp_unconfined: bool,
    pub(super) apparmor_unconfined: bool,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    Always,
    Missing,
    Never,
}

/// An image within the options. Docker uses what follows it as the command, and workflows used it
/// like that before `command:` existed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trailing {
    pub(super) image: String,
    pub(super) command: Vec<String>,
}

/// An option that is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Only its name, because a value may be a secret.
    pub(super) option: String,
    pub(super) why: &'static str,
}

/// Options that are not valid. Docker rejects the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the container's option {0} needs a value")]
    NoValue(String),
    #[error("the container's option {option} cannot be {value:?}; use {wanted}")]
    Value { option: &'static str, value: String, wanted: &'static str },
    #[error(
        "the container's options: word {0} belongs to no option, and a value before it contains a single quote; use double quotes for values with spaces, because single quotes are taken literally"
    )]
    SingleQuote(usize),
    #[error(
        "the container's options: word {0} belongs to no option, and Docker would take it as the image instead of `image:`; use double quotes for values with spaces, or set the image in `image:`"
    )]
    OtherImage(usize),
}

// === impl Options ===

impl Options {
    /// Parses the options of a container with this image.
    pub(super) fn parse(line: &str, image: &str) -> Result<Self, Error> {
        let mut options = line::read(line, image)?;
        value::settle(&mut options);
        Ok(options)
    }

    fn leave(&mut self, option: &str, why: &'static str) {
        let option: String = option.chars().take(64).collect();
        if !self.left.iter().any(|left| left.option == option) {
            self.left.push(Left { option, why });
        }
    }
}

#[cfg(test)]
mod tests;

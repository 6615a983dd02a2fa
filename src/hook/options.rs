//! `options:` of a container: the part of `docker create`'s that an ephemeral container can have.
//! What it cannot have is named, never silently lost.

mod grammar;

use super::words;
use crate::contract::Limits;
use grammar::{capability, docker_bytes, span, wrong};

/// What was asked for and can be had.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Options {
    pub(super) user: Option<String>,
    pub(super) workdir: Option<String>,
    pub(super) entrypoint: Option<String>,
    /// `NAME=VALUE`.
    pub(super) env: Vec<(String, String)>,
    pub(super) health: HealthOptions,
    pub(super) limits: Limits,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) privileged: bool,
    pub(super) read_only: bool,
    pub(super) pull: Option<Pull>,
    /// `--name`, `--hostname`, `--network-alias`: names under which others look for it.
    pub(super) names: Vec<String>,
    /// `--add-host`: name and address.
    pub(super) hosts: Vec<(String, String)>,
    /// `--publish`.
    pub(super) publish: Vec<String>,
    /// Options that are not carried out, and why.
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

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    Always,
    Missing,
    Never,
}

/// An option that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Its name only: a value may be a secret.
    pub(super) option: String,
    pub(super) why: &'static str,
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the container's options: {0}")]
    Unbalanced(#[from] words::Unbalanced),
    #[error("the container's option {0} wants a value")]
    NoValue(String),
    #[error("the container's option {option} cannot be {value:?}; use {wanted}")]
    Value { option: &'static str, value: String, wanted: &'static str },
}

const RUNNER_TEMPLATE: &str = "set it in the runner's pod template";
const NOT_HERE: &str = "an ephemeral container cannot have it";
const NOT_NEEDED: &str = "it has no meaning here";

/// Options without a value that are not carried out.
const FLAGS_LEFT: [(&str, &str); 10] = [
    ("--detach", NOT_NEEDED),
    ("-d", NOT_NEEDED),
    ("--interactive", NOT_NEEDED),
    ("-i", NOT_NEEDED),
    ("--tty", NOT_NEEDED),
    ("-t", NOT_NEEDED),
    ("-it", NOT_NEEDED),
    ("--publish-all", "every port is open to the other containers of the job"),
    ("-P", "every port is open to the other containers of the job"),
    ("--oom-kill-disable", NOT_HERE),
];

/// Options with a value that are not carried out, where there is a word to say.
const VALUES_LEFT: [(&str, &str); 16] = [
    ("--volume", "use `volumes:` of the container"),
    ("-v", "use `volumes:` of the container"),
    ("--mount", "use `volumes:` of the container"),
    ("--tmpfs", "declare an emptyDir of medium Memory in the runner's pod template"),
    ("--shm-size", "declare an emptyDir of medium Memory in the runner's pod template"),
    ("--gpus", NOT_HERE),
    ("--device", NOT_HERE),
    ("--ulimit", NOT_HERE),
    ("--sysctl", RUNNER_TEMPLATE),
    ("--dns", RUNNER_TEMPLATE),
    ("--dns-search", RUNNER_TEMPLATE),
    ("--restart", "an ephemeral container runs once"),
    ("--cpu-shares", "use --cpus"),
    ("-c", "use --cpus"),
    ("--memory-swap", "use --memory"),
    ("--network", "all containers of a job share the pod's network"),
];

// === impl Options ===

impl Options {
    /// Reads a line of options.
    pub(super) fn parse(line: &str) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = words::split(line)?.into_iter().peekable();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if name.starts_with('-') => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (word, None),
            };
            if options.flag(&name, inline.as_deref()) {
                continue;
            }
            let (name, inline) = match inline {
                None => attached(&name).unwrap_or((name, None)),
                inline => (name, inline),
            };
            if takes_value(&name) {
                let value = inline.or_else(|| words.next());
                let value = value.ok_or_else(|| Error::NoValue(name.clone()))?;
                options.value(&name, value)?;
                continue;
            }
            // Unknown: the next word is its value unless it is an option itself.
            let known = VALUES_LEFT.iter().find(|(known, _)| *known == name);
            if inline.is_none() && words.peek().is_some_and(|next| !next.starts_with('-')) {
                words.next();
            }
            let why = known.map_or("the hook does not know it", |(_, why)| *why);
            options.leave(&name, why);
        }
        Ok(options)
    }

    /// Whether it was an option without a value.
    fn flag(&mut self, name: &str, inline: Option<&str>) -> bool {
        let on = !matches!(inline, Some("false" | "0" | "f" | "F" | "FALSE" | "False"));
        match name {
            "--privileged" => self.privileged = on,
            "--read-only" => self.read_only = on,
            "--no-healthcheck" => self.health.disabled = on,
            // There is an init already, and nothing is kept beyond the pod's end.
            "--init" | "--rm" | "--quiet" | "-q" => {}
            other => {
                let Some((_, why)) = FLAGS_LEFT.iter().find(|(flag, _)| *flag == other) else {
                    return false;
                };
                let why = *why;
                self.leave(name, why);
            }
        }
        true
    }

    fn value(&mut self, name: &str, value: String) -> Result<(), Error> {
        match name {
            "--user" | "-u" => self.user = Some(value),
            "--workdir" | "-w" => self.workdir = Some(value),
            "--entrypoint" => self.entrypoint = Some(value).filter(|value| !value.is_empty()),
            "--env" | "-e" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    self.env.push((name.to_owned(), value.to_owned()));
                }
                // Docker would take the runner's own value.
                _ => {
                    self.leave(name, "give NAME=VALUE: the runner's own environment stays its own");
                }
            },
            "--health-cmd" => self.health.command = Some(value).filter(|value| !value.is_empty()),
            "--health-interval" => {
                self.health.interval_ms = Some(span("--health-interval", &value)?);
            }
            "--health-timeout" => self.health.timeout_ms = Some(span("--health-timeout", &value)?),
            "--health-start-period" => {
                self.health.start_period_ms = Some(span("--health-start-period", &value)?);
            }
            "--health-retries" => {
                let wrong = || wrong("--health-retries", &value, "a whole number");
                self.health.retries = Some(value.parse().map_err(|_| wrong())?);
            }
            "--cpus" => {
                let limits: Result<Limits, _> = format!("cpus={value}").parse();
                let wrong = |_| wrong("--cpus", &value, "a number of CPUs as 1.5");
                self.limits.cpu_millis = limits.map_err(wrong)?.cpu_millis;
            }
            "--memory" | "-m" => {
                let bytes = docker_bytes(&value);
                let wrong = || wrong("--memory", &value, "bytes, or a number with b, k, m or g");
                self.limits.memory_bytes = Some(bytes.ok_or_else(wrong)?);
            }
            "--pids-limit" => {
                let wrong = || wrong("--pids-limit", &value, "a whole number");
                let count: i64 = value.parse().map_err(|_| wrong())?;
                // Docker's words for no limit are -1 and 0.
                self.limits.pids = u64::try_from(count).ok().filter(|count| *count > 0);
            }
            "--cap-add" => self.cap_add.push(capability(&value)),
            "--cap-drop" => self.cap_drop.push(capability(&value)),
            "--pull" => {
                self.pull = Some(match value.as_str() {
                    "always" => Pull::Always,
                    "missing" => Pull::Missing,
                    "never" => Pull::Never,
                    _ => return Err(wrong("--pull", &value, "always, missing or never")),
                });
            }
            "--name" | "--hostname" | "-h" | "--network-alias" | "--net-alias" => {
                self.names.push(value);
            }
            "--add-host" => match value.split_once([':', '=']) {
                Some((host, address)) => {
                    self.hosts.push((host.to_owned(), address.trim_matches(['[', ']']).to_owned()));
                }
                None => return Err(wrong("--add-host", &value, "NAME:ADDRESS")),
            },
            _ => self.publish.push(value),
        }
        Ok(())
    }

    fn leave(&mut self, option: &str, why: &'static str) {
        let option: String = option.chars().take(64).collect();
        if !self.left.iter().any(|left| left.option == option) {
            self.left.push(Left { option, why });
        }
    }
}

fn takes_value(name: &str) -> bool {
    matches!(
        name,
        "--user"
            | "-u"
            | "--workdir"
            | "-w"
            | "--entrypoint"
            | "--env"
            | "-e"
            | "--health-cmd"
            | "--health-interval"
            | "--health-timeout"
            | "--health-start-period"
            | "--health-retries"
            | "--cpus"
            | "--memory"
            | "-m"
            | "--pids-limit"
            | "--cap-add"
            | "--cap-drop"
            | "--pull"
            | "--name"
            | "--hostname"
            | "-h"
            | "--network-alias"
            | "--net-alias"
            | "--add-host"
            | "--publish"
            | "-p"
    )
}

/// `-m512m`, `-u1000`: a short option and its value in one word.
fn attached(word: &str) -> Option<(String, Option<String>)> {
    let mut chars = word.chars();
    let (dash, letter) = (chars.next()?, chars.next()?);
    let value = chars.as_str();
    if dash != '-' || letter == '-' || value.is_empty() {
        return None;
    }
    let name = format!("-{letter}");
    takes_value(&name).then(|| (name, Some(value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_usual_services_options_are_read() {
        let options = Options::parse(
            r#"--health-cmd "pg_isready -U me" --health-interval 10s --health-timeout=5s
               --health-retries 5 --health-start-period 1m30s --name db"#,
        )
        .unwrap();
        let health = HealthOptions {
            command: Some("pg_isready -U me".into()),
            interval_ms: Some(10_000),
            timeout_ms: Some(5000),
            start_period_ms: Some(90_000),
            retries: Some(5),
            disabled: false,
        };
        assert_eq!(options.health, health);
        assert_eq!(options.names, ["db"]);
        assert!(options.left.is_empty());
    }

    #[test]
    fn limits_are_read_in_dockers_grammar() {
        let options = Options::parse("--cpus 1.5 -m512m --pids-limit=100").unwrap();
        assert_eq!(options.limits.to_string(), "cpus=1500m,memory=536870912,pids=100");
        let unlimited = Options::parse("--pids-limit -1").unwrap();
        assert!(unlimited.limits.is_empty());
    }

    #[test]
    fn what_is_not_carried_out_is_named_without_its_value() {
        let options =
            Options::parse("--gpus all --secret-thing hunter2 -it --env TOKEN --user 1000")
                .unwrap();
        let names: Vec<&str> = options.left.iter().map(|left| left.option.as_str()).collect();
        assert_eq!(names, ["--gpus", "--secret-thing", "-it", "--env"]);
        assert!(!format!("{:?}", options.left).contains("hunter2"));
        assert_eq!(options.user.as_deref(), Some("1000"));
    }

    #[test]
    fn an_option_that_wants_a_value_and_has_none_is_an_error() {
        assert_eq!(Options::parse("--user"), Err(Error::NoValue("--user".into())));
        for bad in ["--cpus many", "--memory 0", "--memory x", "--health-interval 5", "--pull x"] {
            assert!(matches!(Options::parse(bad), Err(Error::Value { .. })), "{bad}");
        }
        assert!(matches!(Options::parse("--name 'x"), Err(Error::Unbalanced(_))));
    }

    #[test]
    fn flags_can_be_switched_off_and_capabilities_lose_their_prefix() {
        let options = Options::parse("--privileged=false --cap-add CAP_NET_ADMIN --init").unwrap();
        assert!(!options.privileged);
        assert_eq!(options.cap_add, ["NET_ADMIN"]);
        assert!(Options::parse("--privileged").unwrap().privileged);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[-a-z0-9= \"'.:µ]{0,80}") {
            drop(Options::parse(&line));
        }
    }
}

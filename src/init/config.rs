//! The configuration of init: arguments and environment, read once.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use ephemon_contract as contract;
use ephemon_contract::{
    ContainerKey, HookKey, IN_FRONT, Link, Present, Setup, SetupError, TokenError, Volume, env,
    mount,
};

/// How long a container waits for its hook. The hook connects as soon as the socket exists, and
/// gives up after 20 s without an answer (`SILENCE_TIMEOUT` in the hook's `launch`), so a hook that
/// has not connected by then was killed.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a standby container waits for a step. A job of which no step has taken it by then goes
/// on without it; all that a pod's end or the job's cleanup finds is ended by them.
const STANDBY_TIMEOUT: Duration = Duration::from_hours(6);
/// Longest container name in bytes: a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// The configuration.
#[derive(Debug)]
pub(super) struct Config {
    /// The shared volume.
    pub volume: Volume,
    /// The container's name.
    pub container: String,
    /// Verifies the identity of a peer.
    pub hook_key: HookKey,
    /// Proves the identity of this container.
    pub container_key: ContainerKey,
    /// The only uid besides root and init's own that may connect; any uid if `None`.
    pub peer_uid: Option<u32>,
    /// The container's main command, if it is given here and not over the socket.
    pub command: Option<Vec<String>>,
    /// The command that the container was created with, if the hook is to say when it runs.
    pub own: Option<Vec<String>>,
    /// Directories and links to create before the main command starts.
    pub directories: Vec<String>,
    /// See `directories`.
    pub links: Vec<Link>,
    /// Who has put init at the container's start.
    pub starter: Starter,
    /// The kind of the main command.
    pub kind: contract::StepKind,
    /// Whether the container is useless without a hook: that of a job or a step without its own
    /// command.
    pub awaits_hook: bool,
    /// Whether it exists for one step, and ends with it.
    pub awaits_step: bool,
    /// Whether it waits for a step that may never come, so that not being used is no failure.
    pub is_standby: bool,
    /// How long to wait for a hook.
    pub patience: Duration,
    pub hosts: PathBuf,
    pub cgroup: PathBuf,
    /// Root directory for the paths of links and files; `/`, except for containers without a root
    /// file system of their own.
    pub root: PathBuf,
    /// What to set up before any process starts.
    pub setup: Setup,
}

/// Who has put init at the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starter {
    /// The hook, as the command of the container's spec.
    Spec,
    /// The node's agent, in front of the image's own command, which could run without init.
    Agent,
}

/// Why the configuration is not valid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    /// An unknown option.
    #[error(
        "unknown option {0:?}; usage: ephemon-init [--hosts FILE] [--cgroup DIRECTORY] [--root DIRECTORY] [--directory PATH]... [--link PATH TARGET]... [--patience MILLISECONDS] [--ulimit NAME=SOFT:HARD]... [--tmpfs PATH:OPTIONS]... [--shm-size BYTES] [--user USER] [-- COMMAND ARGUMENT...]"
    )]
    Option(String),
    /// An option without its value.
    #[error("{0} needs a value")]
    Value(&'static str),
    /// An option whose value is not a number.
    #[error("{0} needs a number of milliseconds")]
    Number(&'static str),
    /// A value that is not valid.
    #[error("{0}: {1}")]
    Setup(String, SetupError),
    /// An argument that is not UTF-8.
    #[error("argument {0:?} is not utf-8")]
    Text(OsString),
    /// A variable that is missing or not valid.
    #[error("{name} is {what}; the hook sets it in the container's spec")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
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
            return Err(bad(env::CONTAINER, "not a valid container name"));
        }
        let hook_key = key(&variable, env::HOOK_KEY, HookKey::parse)?;
        let container_key = key(&variable, env::CONTAINER_KEY, ContainerKey::parse)?;
        let peer_uid = match variable(env::PEER_UID) {
            Some(uid) => Some(uid.parse().map_err(|_| bad(env::PEER_UID, "not a number"))?),
            None => None,
        };
        let role = variable(env::ROLE);
        let kind = match role.as_deref() {
            Some("service") => contract::StepKind::Service,
            _ => contract::StepKind::Container,
        };
        let mut config = Self {
            volume: Volume::new(variable(env::VOLUME).unwrap_or_else(|| mount::EPHEMON.to_owned())),
            container,
            hook_key,
            container_key,
            peer_uid,
            command: None,
            own: None,
            starter: Starter::Spec,
            directories: Vec::new(),
            links: Vec::new(),
            kind,
            awaits_hook: matches!(role.as_deref(), Some("job" | "step" | "standby")),
            awaits_step: matches!(role.as_deref(), Some("step" | "standby")),
            is_standby: role.as_deref() == Some("standby"),
            patience: if role.as_deref() == Some("standby") {
                STANDBY_TIMEOUT
            } else {
                CONFIG_TIMEOUT
            },
            hosts: PathBuf::from("/etc/hosts"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
            root: PathBuf::from("/"),
            setup: Setup::default(),
        };
        config.read_args(args)?;
        if config.starter == Starter::Agent {
            let text = variable(env::INIT).ok_or(bad(env::INIT, "not set"))?;
            let setup = Setup::of_variable(&text);
            config.setup =
                setup.map_err(|error| ConfigError::Setup(env::INIT.to_owned(), error))?;
            if config.awaits_step {
                config.own = config.command.take();
            }
        }
        config.awaits_hook &= config.command.is_none();
        config.awaits_step &= config.command.is_none();
        Ok(config)
    }

    fn read_args(&mut self, args: impl IntoIterator<Item = OsString>) -> Result<(), ConfigError> {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--") => break,
                Some(IN_FRONT) => self.starter = Starter::Agent,
                Some("--hosts") => {
                    self.hosts = args.next().ok_or(ConfigError::Value("--hosts"))?.into();
                }
                Some("--cgroup") => {
                    self.cgroup = args.next().ok_or(ConfigError::Value("--cgroup"))?.into();
                }
                Some("--root") => {
                    self.root = args.next().ok_or(ConfigError::Value("--root"))?.into();
                }
                Some("--patience") => {
                    let value = args.next().ok_or(ConfigError::Value("--patience"))?;
                    let millis = value.to_str().and_then(|value| value.parse().ok());
                    let millis = millis.ok_or(ConfigError::Number("--patience"))?;
                    self.patience = Duration::from_millis(millis);
                }
                Some(name @ ("--ulimit" | "--tmpfs" | "--shm-size" | "--user")) => {
                    let value = args.next().and_then(|value| value.into_string().ok());
                    let value = value.ok_or(ConfigError::Value("an option of the setup"))?;
                    let read = self.setup.read(name, &value);
                    read.map_err(|error| ConfigError::Setup(name.to_owned(), error))?;
                }
                Some("--directory") => self.directories.push(text(&mut args, "--directory")?),
                Some("--link") => {
                    let path = text(&mut args, "--link")?;
                    let target = text(&mut args, "--link")?;
                    self.links.push(Link { path, target, present: Present::Replace });
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

fn key<K>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<K, TokenError>,
) -> Result<K, ConfigError> {
    let text = variable(name).ok_or(ConfigError::Variable { name, what: "not set" })?;
    parse(&text).map_err(|_| ConfigError::Variable { name, what: "not 64 hex digits" })
}

fn text(
    args: &mut impl Iterator<Item = OsString>,
    option: &'static str,
) -> Result<String, ConfigError> {
    let value = args.next().ok_or(ConfigError::Value(option))?;
    value.into_string().map_err(ConfigError::Text)
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
        let key_text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        vec![(env::CONTAINER, "job"), (env::HOOK_KEY, key_text), (env::CONTAINER_KEY, key_text)]
    }

    #[test]
    fn a_command_follows_two_dashes() {
        let config =
            read(&["--hosts", "/tmp/h", "--", "redis-server", "--port", "1"], &variables());
        let config = config.expect("a configuration");
        assert_eq!(config.command.expect("a command"), ["redis-server", "--port", "1"]);
        assert_eq!(config.hosts, PathBuf::from("/tmp/h"));
        assert!(read(&[], &variables()).expect("a configuration").command.is_none());
        let config = read(&["--directory", "/d", "--link", "/a", "/b", "--", "x"], &variables());
        let config = config.expect("a configuration");
        assert_eq!((config.directories, config.links.len()), (vec!["/d".to_owned()], 1));
        let half = read(&["--link", "/a"], &variables()).err();
        assert_eq!(half, Some(ConfigError::Value("--link")));
    }

    #[test]
    fn in_front_of_an_images_own_command_a_step_waits_for_the_hook_and_a_service_does_not() {
        let read = |role: &'static str, setup: Option<&'static str>| {
            let own = [(env::ROLE, role)].into_iter().chain(setup.map(|setup| (env::INIT, setup)));
            let variables: Vec<_> = variables().into_iter().chain(own).collect();
            read(&[IN_FRONT, "--", "/entry.sh", "3"], &variables)
        };
        let own = Some(vec!["/entry.sh".to_owned(), "3".to_owned()]);
        let step = read("step", Some("[]")).expect("a configuration");
        assert_eq!((&step.own, &step.command), (&own, &None));
        assert!(step.awaits_hook && step.awaits_step);
        let service = read("service", Some(r#"["--user","node"]"#)).expect("a configuration");
        assert_eq!((&service.own, &service.command), (&None, &own));
        assert_eq!(service.setup.user.as_deref(), Some("node"));
        for setup in [None, Some("--user node")] {
            let error = read("service", setup).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(env::INIT)), "{error:?}");
        }
    }

    #[test]
    fn what_to_set_up_is_read_before_the_command() {
        let setup = Setup {
            ulimits: vec!["nofile=1:2".parse().expect("a limit")],
            tmpfs: vec!["/run:size=1m".parse().expect("a mount")],
            shm_bytes: Some(7),
            user: Some("node".to_owned()),
        };
        let args = setup.to_args();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--", "x", "--user"]);
        let config = read(&args, &variables()).expect("a configuration");
        assert_eq!((config.setup, config.command.expect("a command").len()), (setup, 2));
        assert!(read(&["--shm-size", "x"], &variables()).is_err());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value) in [
            (env::CONTAINER, ""),
            (env::CONTAINER, "../x"),
            (env::CONTAINER, "A"),
            (env::HOOK_KEY, "short"),
            (env::CONTAINER_KEY, "short"),
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
        assert_eq!(
            read(&["--patience", "soon"], &variables()).err(),
            Some(ConfigError::Number("--patience"))
        );
    }

    #[test]
    fn only_containers_without_a_purpose_of_their_own_await_a_hook() {
        let awaits = |role: Option<&'static str>, args: &[&str]| {
            let mut variables = variables();
            variables.extend(role.map(|role| (env::ROLE, role)));
            read(args, &variables).expect("a configuration").awaits_hook
        };
        assert!(awaits(Some("job"), &[]) && awaits(Some("step"), &["--patience", "5"]));
        assert!(!awaits(Some("service"), &[]) && !awaits(None, &[]));
        assert!(!awaits(Some("step"), &["--", "true"]));
        assert!(awaits(Some("standby"), &[]));
    }
}

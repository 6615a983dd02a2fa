//! What init sets up before it starts any process, as its arguments in the container's spec.
//! Nothing in it is secret, because everyone with read access to pods can read it.

use std::fmt;
use std::str::FromStr;

/// Names of limits, as in Docker (docker/go-units, `ulimit.go`).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The setup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Limits of every process that init starts.
    pub ulimits: Vec<Ulimit>,
    /// Directories in memory (`tmpfs`).
    pub tmpfs: Vec<Tmpfs>,
    /// The minimum size of `/dev/shm`, bytes.
    pub shm_bytes: Option<u64>,
    /// `USER[:GROUP]` of the container's own command and of its health command; init's own user
    /// when absent.
    pub user: Option<String>,
}

/// A resource limit of `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Its name, such as `nofile`.
    pub name: String,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    /// `None` is unlimited.
    pub hard: Option<u64>,
}

/// A `tmpfs` to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Its absolute path.
    pub path: String,
    /// Options of `mount(8)`, separated by commas; empty for Docker's defaults.
    pub options: String,
}

/// A value that Docker would reject, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use {0}")]
pub struct SetupError(pub &'static str);

// === impl Setup ===

impl Setup {
    /// Converts it to arguments.
    pub fn to_args(&self) -> Vec<String> {
        let ulimits = self.ulimits.iter().map(|limit| ["--ulimit".to_owned(), limit.to_string()]);
        let tmpfs = self.tmpfs.iter().map(|mount| ["--tmpfs".to_owned(), mount.to_string()]);
        let shm = self.shm_bytes.map(|bytes| ["--shm-size".to_owned(), bytes.to_string()]);
        let user = self.user.clone().map(|user| ["--user".to_owned(), user]);
        ulimits.chain(tmpfs).chain(shm).chain(user).flatten().collect()
    }

    /// As the value of [`super::env::INIT`]: its arguments as a JSON array.
    pub fn to_variable(&self) -> String {
        serde_json::Value::from(self.to_args()).to_string()
    }

    /// Parses that value.
    ///
    /// # Errors
    /// If it is no such array, or an argument is not one of a setup.
    pub fn of_variable(text: &str) -> Result<Self, SetupError> {
        let wanted = SetupError("a JSON array of options and their values");
        let args: Vec<String> = serde_json::from_str(text).map_err(|_| wanted)?;
        let mut setup = Self::default();
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(wanted) };
            if !setup.read(name, value)? {
                return Err(wanted);
            }
        }
        Ok(setup)
    }

    /// Parses one argument; returns whether `name` is one of this setup.
    pub fn read(&mut self, name: &str, value: &str) -> Result<bool, SetupError> {
        match name {
            "--ulimit" => self.ulimits.push(value.parse()?),
            "--tmpfs" => self.tmpfs.push(value.parse()?),
            "--shm-size" => {
                self.shm_bytes = Some(value.parse().map_err(|_| SetupError("a number of bytes"))?);
            }
            "--user" => self.user = Some(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

// === impl Ulimit ===

impl FromStr for Ulimit {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let wanted = SetupError("NAME=SOFT[:HARD] with -1 for unlimited, such as nofile=1024:4096");
        let (name, limits) = text.split_once('=').ok_or(wanted)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| match text.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(number) => u64::try_from(number).map(Some).map_err(|_| wanted),
            Err(_) => Err(wanted),
        };
        let (soft, hard) = (number(soft)?, number(hard)?);
        let above = hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard));
        if !ULIMITS.contains(&name) || above {
            return Err(wanted);
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.name, number(self.soft), number(self.hard))
    }
}

// === impl Tmpfs ===

impl FromStr for Tmpfs {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let upwards = path.split('/').any(|part| part == "..");
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || upwards {
            return Err(SetupError("an absolute path, and options after a colon"));
        }
        Ok(Self { path: path.to_owned(), options: options.to_owned() })
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ulimits_are_read_as_docker_reads_them() {
        let limit = |soft, hard| Ulimit { name: "nofile".to_owned(), soft, hard };
        assert_eq!("nofile=1024".parse(), Ok(limit(Some(1024), Some(1024))));
        assert_eq!("nofile=1:2".parse(), Ok(limit(Some(1), Some(2))));
        assert_eq!("nofile=1:-1".parse(), Ok(limit(Some(1), None)));
        assert_eq!("nofile=-1".parse(), Ok(limit(None, None)));
        for bad in [
            "nofile",
            "nofile=",
            "nofile=2:1",
            "nofile=-1:5",
            "nofile=1:2:3",
            "nofile=-2",
            "as=1",
            "x=1",
        ] {
            assert!(bad.parse::<Ulimit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tmpfs_is_a_path_with_options() {
        let mount: Tmpfs = "/run:rw,size=64m".parse().unwrap();
        assert_eq!((mount.path.as_str(), mount.options.as_str()), ("/run", "rw,size=64m"));
        for bad in ["", "/", "run", "/a/../b", ":size=1"] {
            assert!(bad.parse::<Tmpfs>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_is_a_whole_setup_and_nothing_else() {
        assert_eq!(Setup::of_variable("[]"), Ok(Setup::default()));
        for bad in ["", "{}", "[1]", "[\"--user\"]", "[\"--root\",\"/x\"]", "[\"--ulimit\",\"x\"]"]
        {
            assert!(Setup::of_variable(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arguments_are_read_back(
            soft in proptest::option::of(0..1_u64 << 62),
            more in 0..1_u64 << 61,
            shm in proptest::option::of(any::<u64>()),
            options in "[a-z0-9=,:]{0,12}",
        ) {
            let hard = soft.map(|soft| soft + more);
            let setup = Setup {
                ulimits: vec![Ulimit { name: "core".to_owned(), soft, hard }],
                tmpfs: vec![Tmpfs { path: "/a b".to_owned(), options }],
                shm_bytes: shm,
                user: Some("node:staff".to_owned()),
            };
            let mut read = Setup::default();
            for pair in setup.to_args().chunks(2) {
                prop_assert_eq!(read.read(&pair[0], &pair[1]), Ok(true));
            }
            prop_assert_eq!(&read, &setup);
            prop_assert_eq!(Setup::of_variable(&setup.to_variable()), Ok(setup));
        }
    }
}

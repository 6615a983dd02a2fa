//! `--ulimit` of a container. The limits apply to the processes that init starts, not to init
//! itself, which could not work with every limit. The standard library cannot set them for a child,
//! so init starts its own program again, and that process sets them and executes the command.

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    process::{Command, ExitCode},
};

use ephemon_contract::{ErrorCode, Ulimit};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::become_user;

/// First argument of the intermediate process.
pub(super) const ARGUMENT: &str = "--limited";
/// `CAP_SYS_RESOURCE`, which allows raising hard limits.
const CAP_SYS_RESOURCE: u32 = 24;
/// The kernel's upper bound for open files.
const NR_OPEN: &str = "/proc/sys/fs/nr_open";

/// The limits that init itself has, which bound those that it can set.
#[derive(Debug)]
pub(super) struct Bounds {
    may_raise: bool,
    most_files: Option<u64>,
}

/// Limits that can be set, and a sentence for each that differs from the request.
pub(super) fn settle(asked: &[Ulimit]) -> (Vec<Ulimit>, Vec<String>) {
    let bounds = Bounds::of_this_process();
    let mut notes = Vec::new();
    let possible = asked.iter().filter_map(|limit| {
        let hard = getrlimit(resource(&limit.name)?).maximum;
        let (possible, note) = bounds.fit(limit, number(hard));
        notes.extend(note);
        Some(possible)
    });
    let possible = possible.collect();
    (possible, notes)
}

/// The same program with these limits.
pub(super) fn limited(limits: &[Ulimit], inner: &Command, name: Option<&OsStr>) -> Command {
    let text: Vec<String> = limits.iter().map(Ulimit::to_string).collect();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(ARGUMENT)
        .arg(text.join(","))
        .arg(inner.get_program())
        .arg(name.unwrap_or(inner.get_program()))
        .args(inner.get_args());
    command
}

/// The intermediate process: `--limited NAME=SOFT:HARD,... PROGRAM ARGV0 ARGUMENT...`. Returns only
/// if it failed.
pub(super) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (code, text) = match (args.next().as_deref().and_then(parse), args.next()) {
        (Some(limits), Some(program)) => match limits.iter().try_for_each(set) {
            Ok(()) => become_user::execute(&program, args),
            Err(error) => (ErrorCode::System, format!("cannot set a limit: {error}")),
        },
        _ => (ErrorCode::System, format!("{ARGUMENT} is for internal use only")),
    };
    // If standard error is closed, the error cannot be reported.
    drop(writeln!(std::io::stderr(), "ephemon-init: {text}"));
    ExitCode::from(code.exit_code())
}

fn parse(text: &OsStr) -> Option<Vec<Ulimit>> {
    text.to_str()?.split(',').map(|limit| limit.parse().ok()).collect()
}

fn set(limit: &Ulimit) -> rustix::io::Result<()> {
    let Some(resource) = resource(&limit.name) else { return Ok(()) };
    setrlimit(resource, Rlimit { current: limit.soft, maximum: limit.hard })
}

/// No limit is greater than any number.
fn number(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

// === impl Bounds ===

impl Bounds {
    fn of_this_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let most_files = std::fs::read_to_string(NR_OPEN).ok();
        Self {
            may_raise: has_capability(&status, CAP_SYS_RESOURCE),
            most_files: most_files.and_then(|text| text.trim().parse().ok()),
        }
    }

    /// The limit that can be set if `hard` is the present hard limit.
    fn fit(&self, asked: &Ulimit, hard: u64) -> (Ulimit, Option<String>) {
        let most = match (self.may_raise, asked.name.as_str(), self.most_files) {
            (true, "nofile", Some(most)) => most,
            (true, ..) => u64::MAX,
            (false, ..) => hard,
        };
        let within = |limit: Option<u64>| {
            let limit = number(limit).min(most);
            (limit < u64::MAX).then_some(limit)
        };
        let possible =
            Ulimit { name: asked.name.clone(), soft: within(asked.soft), hard: within(asked.hard) };
        let note = (possible != *asked).then(|| {
            let why = if self.may_raise {
                "the kernel's limit is reached"
            } else {
                "raising a hard limit needs CAP_SYS_RESOURCE"
            };
            format!("--ulimit {asked} is reduced to {possible}: {why}")
        });
        (possible, note)
    }
}

/// Whether `/proc/self/status` lists it among the effective capabilities.
fn has_capability(status: &str, number: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> number & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Ulimit {
        text.parse().expect("a limit")
    }

    #[test]
    fn what_cannot_be_raised_is_as_high_as_it_may_be_and_said() {
        let plain = Bounds { may_raise: false, most_files: Some(1000) };
        let privileged = Bounds { may_raise: true, ..plain };
        for (bounds, asked, hard, possible) in [
            (&plain, "nofile=10:20", 100, "nofile=10:20"),
            (&plain, "nofile=10:200", 100, "nofile=10:100"),
            (&plain, "nofile=150:200", 100, "nofile=100:100"),
            (&plain, "memlock=-1", 64, "memlock=64:64"),
            (&plain, "core=-1", u64::MAX, "core=-1:-1"),
            (&privileged, "memlock=-1", 64, "memlock=-1:-1"),
            (&privileged, "nofile=2000:-1", 64, "nofile=1000:1000"),
        ] {
            let (fitted, note) = bounds.fit(&limit(asked), hard);
            assert_eq!(fitted.to_string(), possible, "{asked}");
            assert_eq!(note.is_some(), limit(asked) != limit(possible), "{asked}: {note:?}");
        }
    }

    #[test]
    fn every_limit_that_docker_has_is_known_here() {
        for name in [
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
        ] {
            assert!(resource(limit(&format!("{name}=1")).name.as_str()).is_some(), "{name}");
        }
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000001000000\n";
        assert!(has_capability(status, 24) && !has_capability(status, 21));
        assert!(!has_capability("", 24));
    }

    #[test]
    fn limits_and_program_survive_the_way_through_arguments() {
        let mut inner = Command::new("/bin/x");
        inner.args(["a", "b"]);
        let outer =
            limited(&[limit("nofile=1:2"), limit("core=-1")], &inner, Some(OsStr::new("x")));
        let args: Vec<&OsStr> = outer.get_args().collect();
        assert_eq!(parse(args[1]), Some(vec![limit("nofile=1:2"), limit("core=-1:-1")]));
        assert_eq!(args[2..], ["/bin/x", "x", "a", "b"]);
    }
}

//! Parses the value of each option.

use std::net::IpAddr;

use super::flag::{Flag, Treatment};
use super::grammar::{bytes, capability, cpus, number, span, switch, wrong};
use super::volume::{self, Asked};
use super::{Error, Options, Pull, publish};

/// Address at which the containers of a job reach each other. It also replaces Docker's
/// `host-gateway`, because the ports that are published there are published here.
const LOOPBACK: &str = "127.0.0.1";
/// The kernel's default period of a CPU quota, in microseconds.
const CPU_PERIOD_US: i64 = 100_000;
/// The largest memory limit that the kernel accepts, in bytes.
const MOST_MEMORY_BYTES: u64 = (1 << 62) - 1;
/// The largest number of tasks on 64-bit Linux (`PID_MAX_LIMIT`).
const MOST_PIDS: u64 = 4 << 20;

const NETWORK: &str = "all containers of a job share the pod's network";
const SECURITY: &str = "only no-new-privileges, seccomp=unconfined and apparmor=unconfined are supported; set others in the hook's template";

// === impl Options ===

impl Options {
    pub(super) fn switch(&mut self, flag: Flag, value: Option<&str>) -> Result<(), Error> {
        let on = switch(flag.name, value)?;
        match flag.name {
            "--privileged" => self.privileged = on,
            "--read-only" => self.read_only = on,
            "--no-healthcheck" => self.health.disabled = on,
            "--init" => self.init = Some(on),
            name => {
                if let Treatment::Left(why) = flag.fate
                    && on
                {
                    self.leave(name, why);
                }
            }
        }
        Ok(())
    }

    pub(super) fn value(&mut self, flag: Flag, value: String) -> Result<(), Error> {
        let name = flag.name;
        if let Treatment::Left(why) = flag.fate {
            self.leave(name, why);
            return Ok(());
        }
        match name {
            "--user" => self.user = Some(value).filter(|value| !value.is_empty()),
            "--workdir" => self.workdir = Some(value).filter(|value| !value.is_empty()),
            "--entrypoint" => self.entrypoint = Some(value),
            "--env" => self.env(&value),
            "--pull" => self.pull = Some(pull(&value)?),
            "--name" | "--hostname" | "--network-alias" => self.names.push(value),
            "--network" => self.network(&value),
            "--link" => {
                let alias = value.rsplit_once(':').map_or(value.as_str(), |(_, alias)| alias);
                self.host("--link", alias, LOOPBACK);
            }
            "--add-host" => self.add_host(&value)?,
            "--publish" => self.publish.push(publish::in_short(&value)),
            "--cap-add" => self.cap_add.push(capability(&value)),
            "--cap-drop" => self.cap_drop.push(capability(&value)),
            "--security-opt" => self.security(&value),
            "--ipc" => match value.as_str() {
                "host" => self.shm.is_hosts = true,
                "private" | "none" => {
                    self.leave(name, "the containers of a job share one IPC namespace");
                }
                _ => {}
            },
            "--platform" => {
                if !is_here(&value) {
                    self.leave(name, "the node's platform determines the image");
                }
            }
            "--volume" => match volume::short(&value) {
                Some(mount) => self.volumes.push(mount),
                None => {
                    return Err(wrong(name, &value, "SOURCE:TARGET[:ro] with an absolute target"));
                }
            },
            "--mount" => match volume::long(&value) {
                Some(Asked::Volume(mount)) => self.volumes.push(mount),
                Some(Asked::Tmpfs(tmpfs)) => self.tmpfs.push(tmpfs),
                Some(Asked::Other) => {
                    self.leave(name, "only the types bind, volume and tmpfs are supported");
                }
                None => return Err(wrong(name, &value, "type=TYPE,source=SOURCE,target=TARGET")),
            },
            "--tmpfs" => {
                let tmpfs = value.parse().map_err(|_| wrong(name, &value, "PATH[:OPTIONS]"))?;
                self.tmpfs.push(tmpfs);
            }
            "--ulimit" => {
                let wanted = "NAME=SOFT[:HARD], such as nofile=1024:4096";
                self.ulimits.push(value.parse().map_err(|_| wrong(name, &value, wanted))?);
            }
            _ if name.starts_with("--health-") => self.health(name, value)?,
            _ => self.amount(name, &value)?,
        }
        Ok(())
    }

    fn health(&mut self, name: &'static str, value: String) -> Result<(), Error> {
        let health = &mut self.health;
        match name {
            "--health-cmd" => health.command = Some(value).filter(|value| !value.is_empty()),
            "--health-interval" => health.interval_ms = span(name, &value)?,
            "--health-timeout" => health.timeout_ms = span(name, &value)?,
            "--health-start-period" => health.start_period_ms = span(name, &value)?,
            "--health-retries" => {
                let retries = number(name, &value)?;
                if retries < 0 {
                    return Err(wrong(name, &value, "a number that is not negative"));
                }
                // 0 selects Docker's default.
                let retries = (retries > 0).then(|| u32::try_from(retries).unwrap_or(u32::MAX));
                health.retries = retries;
            }
            // `--health-start-interval`: the hook probes more often in any case.
            _ => drop(span(name, &value)?),
        }
        Ok(())
    }

    /// Sizes and counts. A value beyond what a machine can have sets no limit.
    fn amount(&mut self, name: &'static str, value: &str) -> Result<(), Error> {
        let limits = &mut self.limits;
        let within = |amount: u64, most: u64| (1..=most).contains(&amount).then_some(amount);
        match name {
            "--cpus" => limits.cpu_millis = cpus(value)?,
            "--memory" => limits.memory_bytes = within(bytes(name, value)?, MOST_MEMORY_BYTES),
            "--pids-limit" => {
                // -1 and 0 mean no limit for Docker.
                let count = u64::try_from(number(name, value)?).unwrap_or(0);
                limits.pids = within(count, MOST_PIDS);
            }
            "--shm-size" => self.shm.bytes = within(bytes(name, value)?, u64::MAX),
            "--memory-swap" => {
                if value != "-1" {
                    bytes(name, value)?;
                }
                self.leave(name, "swap is configured on the node; only --memory is enforced");
            }
            "--cpu-period" => self.cpu_quota.1 = number(name, value)?,
            "--cpu-quota" => self.cpu_quota.0 = number(name, value)?,
            _ => {}
        }
        Ok(())
    }

    fn env(&mut self, value: &str) {
        match value.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                self.env.push((name.to_owned(), value.to_owned()));
            }
            // Docker would use the runner's own value.
            _ => {
                self.leave(
                    "--env",
                    "use NAME=VALUE: the runner's own environment is not passed on",
                );
            }
        }
    }

    /// `--network NAME`, or `name=NAME,alias=ALIAS`.
    fn network(&mut self, value: &str) {
        let aliases = value.split(',').filter_map(|field| field.strip_prefix("alias="));
        self.names.extend(aliases.map(str::to_owned));
        self.leave("--network", NETWORK);
    }

    fn add_host(&mut self, value: &str) -> Result<(), Error> {
        let wrong =
            || wrong("--add-host", value, "NAME:ADDRESS with an IP address or host-gateway");
        let (name, address) =
            value.split_once('=').or_else(|| value.split_once(':')).ok_or_else(wrong)?;
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        let address = match bare.unwrap_or(address) {
            "host-gateway" => LOOPBACK.to_owned(),
            other => other.trim().parse::<IpAddr>().map_err(|_| wrong())?.to_string(),
        };
        if name.is_empty() || name.contains(':') {
            return Err(wrong());
        }
        self.host("--add-host", name, &address);
        Ok(())
    }

    /// A name that is not valid in a hosts file must not prevent the others from being written.
    fn host(&mut self, option: &str, name: &str, address: &str) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if (1..=253).contains(&name.len()) && name.bytes().all(fits) {
            self.hosts.push((name.to_owned(), address.to_owned()));
        } else {
            self.leave(option, "the name is not a valid host name");
        }
    }

    /// `KEY=VALUE`, or the older form with a colon.
    fn security(&mut self, value: &str) {
        let (key, word) = value.split_once(['=', ':']).unwrap_or((value, "true"));
        match (key, word) {
            ("no-new-privileges", word) => self.security.no_new_privileges = word != "false",
            ("seccomp", "unconfined") => self.security.seccomp_unconfined = true,
            ("apparmor", "unconfined") => self.security.apparmor_unconfined = true,
            ("seccomp", "builtin") => {}
            _ => self.leave("--security-opt", SECURITY),
        }
    }
}

/// Checks that need all options.
pub(super) fn settle(options: &mut Options) {
    let (quota, period) = options.cpu_quota;
    let period = if period > 0 { period } else { CPU_PERIOD_US };
    if options.limits.cpu_millis.is_none() && quota > 0 {
        let millis =
            (u128::from(quota.unsigned_abs()) * 1000).div_ceil(period.unsigned_abs().into());
        options.limits.cpu_millis = u64::try_from(millis).ok();
    }
}

fn pull(value: &str) -> Result<Pull, Error> {
    Ok(match value {
        "always" => Pull::Always,
        "missing" => Pull::Missing,
        "never" => Pull::Never,
        _ => return Err(wrong("--pull", value, "always, missing or never")),
    })
}

/// Whether a platform such as `linux/amd64` is that of this machine, and so of the container.
fn is_here(platform: &str) -> bool {
    let mut parts = platform.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (system, architecture) = match second {
        Some(architecture) => (first, Some(architecture)),
        None if first == "linux" => (first, None),
        None => ("linux", Some(first)),
    };
    let here = match std::env::consts::ARCH {
        "x86_64" => ["amd64", "x86_64"],
        "aarch64" => ["arm64", "aarch64"],
        other => [other, other],
    };
    system == "linux" && architecture.is_none_or(|name| here.contains(&name))
}

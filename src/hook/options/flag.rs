//! The options of `docker create`: which take a value, and how each is treated (docker/cli 29,
//! `cli/command/container/opts.go` and `create.go`). Docker's CLI never uses the next word as the
//! value of a switch, and always as the value of any other option, whatever the word is.

use Treatment::{Left, Nothing, Used};

/// How an option is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its value is used.
    Used,
    /// It has no effect that an ephemeral container would lack.
    Nothing,
    /// It is ignored, with the reason.
    Left(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag {
    /// With its dashes; alternative spellings have the usual name.
    pub(super) name: &'static str,
    pub(super) is_switch: bool,
    pub(super) fate: Treatment,
}

const NOT_HERE: &str = "ephemeral containers do not support it";
const NOT_NEEDED: &str = "it has no effect here";
const NETWORK: &str = "all containers of a job share the pod's network";
const TEMPLATE: &str = "set it in the runner's pod template";
const DNS: &str = "the containers of a job share one resolv.conf with the runner; set `dnsConfig` in the runner's pod template";
const DEVICE: &str = "devices belong to the containers of the runner's pod template";
const NAMESPACE: &str = "the containers of a job have the pod's namespaces";
const LIMIT: &str = "--cpus, --memory and --pids-limit can be enforced";
const LOGGING: &str = "the kubelet stores the log";

/// Options without a short form: name, whether it is a switch, treatment.
const LONG: [(&str, bool, Treatment); 90] = [
    ("--add-host", false, Used),
    ("--annotation", false, Left(NOT_HERE)),
    ("--blkio-weight", false, Left(LIMIT)),
    ("--blkio-weight-device", false, Left(LIMIT)),
    ("--cap-add", false, Used),
    ("--cap-drop", false, Used),
    ("--cgroup-parent", false, Left(NOT_HERE)),
    ("--cgroupns", false, Left(NAMESPACE)),
    ("--cidfile", false, Left(NOT_HERE)),
    ("--cpu-count", false, Left(LIMIT)),
    ("--cpu-percent", false, Left(LIMIT)),
    ("--cpu-period", false, Used),
    ("--cpu-quota", false, Used),
    ("--cpu-rt-period", false, Left(LIMIT)),
    ("--cpu-rt-runtime", false, Left(LIMIT)),
    ("--cpus", false, Used),
    ("--cpuset-cpus", false, Left(LIMIT)),
    ("--cpuset-mems", false, Left(LIMIT)),
    ("--detach-keys", false, Left(NOT_NEEDED)),
    ("--device", false, Left(DEVICE)),
    ("--device-cgroup-rule", false, Left(DEVICE)),
    ("--device-read-bps", false, Left(LIMIT)),
    ("--device-read-iops", false, Left(LIMIT)),
    ("--device-write-bps", false, Left(LIMIT)),
    ("--device-write-iops", false, Left(LIMIT)),
    ("--disable-content-trust", true, Nothing),
    ("--dns", false, Left(DNS)),
    ("--dns-opt", false, Left(DNS)),
    ("--dns-option", false, Left(DNS)),
    ("--dns-search", false, Left(DNS)),
    ("--domainname", false, Left(NETWORK)),
    ("--entrypoint", false, Used),
    ("--env-file", false, Left("the hook does not read files of the runner; use `env:`")),
    ("--expose", false, Nothing),
    ("--gpus", false, Left(DEVICE)),
    ("--group-add", false, Left("set `supplementalGroups` in the runner's pod template")),
    ("--health-cmd", false, Used),
    ("--health-interval", false, Used),
    ("--health-retries", false, Used),
    ("--health-start-interval", false, Used),
    ("--health-start-period", false, Used),
    ("--health-timeout", false, Used),
    ("--help", true, Left(NOT_NEEDED)),
    ("--init", true, Used),
    ("--io-maxbandwidth", false, Left(LIMIT)),
    ("--io-maxiops", false, Left(LIMIT)),
    ("--ip", false, Left(NETWORK)),
    ("--ip6", false, Left(NETWORK)),
    ("--ipc", false, Used),
    ("--isolation", false, Left(NOT_HERE)),
    ("--kernel-memory", false, Left(LIMIT)),
    ("--label-file", false, Left("the labels are those of the runner's pod")),
    ("--link", false, Used),
    ("--link-local-ip", false, Left(NETWORK)),
    ("--log-driver", false, Left(LOGGING)),
    ("--log-opt", false, Left(LOGGING)),
    ("--mac-address", false, Left(NETWORK)),
    ("--memory-reservation", false, Left("use --memory")),
    ("--memory-swap", false, Used),
    ("--memory-swappiness", false, Left("swap is configured on the node")),
    ("--mount", false, Used),
    ("--name", false, Used),
    ("--network", false, Used),
    ("--network-alias", false, Used),
    ("--no-healthcheck", true, Used),
    ("--oom-kill-disable", true, Left(NOT_HERE)),
    ("--oom-score-adj", false, Left(NOT_HERE)),
    ("--pid", false, Left(NAMESPACE)),
    ("--pids-limit", false, Used),
    ("--platform", false, Used),
    ("--privileged", true, Used),
    ("--pull", false, Used),
    ("--read-only", true, Used),
    ("--restart", false, Left("an ephemeral container runs once")),
    ("--rm", true, Nothing),
    ("--runtime", false, Left("set `runtimeClassName` in the runner's pod template")),
    ("--security-opt", false, Used),
    ("--shm-size", false, Used),
    ("--sig-proxy", true, Nothing),
    ("--stop-signal", false, Left(NOT_HERE)),
    (
        "--stop-timeout",
        false,
        Left("set `terminationGracePeriodSeconds` in the runner's pod template"),
    ),
    ("--storage-opt", false, Left(NOT_HERE)),
    ("--sysctl", false, Left(TEMPLATE)),
    ("--tmpfs", false, Used),
    ("--ulimit", false, Used),
    ("--use-api-socket", true, Left("there is no Docker daemon in the runner's pod")),
    ("--userns", false, Left(NAMESPACE)),
    ("--uts", false, Left(NAMESPACE)),
    ("--volume-driver", false, Left("declare the volume in the runner's pod template")),
    ("--volumes-from", false, Left("name each volume in `volumes:`")),
];

/// Options with a short form.
const SHORT: [(char, &str, bool, Treatment); 15] = [
    ('a', "--attach", false, Left(NOT_NEEDED)),
    ('c', "--cpu-shares", false, Left("use --cpus")),
    ('d', "--detach", true, Nothing),
    ('e', "--env", false, Used),
    ('h', "--hostname", false, Used),
    ('i', "--interactive", true, Left(NOT_NEEDED)),
    ('l', "--label", false, Left("the labels are those of the runner's pod")),
    ('m', "--memory", false, Used),
    ('p', "--publish", false, Used),
    ('P', "--publish-all", true, Nothing),
    ('q', "--quiet", true, Nothing),
    ('t', "--tty", true, Left(NOT_NEEDED)),
    ('u', "--user", false, Used),
    ('v', "--volume", false, Used),
    ('w', "--workdir", false, Used),
];

// === impl Flag ===

impl Flag {
    /// The option with this long name, dashes included.
    pub(super) fn long(name: &str) -> Option<Self> {
        let name = match name {
            "--net" => "--network",
            "--net-alias" => "--network-alias",
            other => other,
        };
        let long = LONG.iter().find(|(long, ..)| *long == name);
        let short = || SHORT.iter().find(|(_, long, ..)| *long == name);
        long.map(|&(name, is_switch, fate)| Self { name, is_switch, fate })
            .or_else(|| short().map(|&(_, name, is_switch, fate)| Self { name, is_switch, fate }))
    }

    /// The option with this letter.
    pub(super) fn short(letter: char) -> Option<Self> {
        let found = SHORT.iter().find(|(short, ..)| *short == letter);
        found.map(|&(_, name, is_switch, fate)| Self { name, is_switch, fate })
    }
}

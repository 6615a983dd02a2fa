//! The agent's command line. Parsing does nothing else. Every flag has an environment variable,
//! because the manifest of a `DaemonSet` is the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ephemon_ci_systems::{CiSystem, Mapping};
use ephemon_metrics::Pattern;

use super::debug_audit::DebugScope;
use super::duration::{parse, parse_positive};
use super::export::ExportArgs;
use super::log::LogArgs;
use super::page::PageArgs;
use super::settings::Setting;

/// Watch this node's ephemeral containers and serve what they use to Prometheus.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
WHAT IT NEEDS
  The host's /sys/fs/cgroup, /var/log, /proc and /var/lib/kubelet/pods below --node-root, read only; \
  the host's processes (hostPID) for immediate exit detection; CAP_SYS_NICE for real-time priority; \
  CAP_SYS_PTRACE for network values. From the API: list and watch on pods. Missing permissions are \
  logged at startup; only the affected features are disabled.

LIMITS
  The API accepts no limits for ephemeral containers. --enforce-limits sets those that a container's \
  environment variable EPHEMON_LIMITS=cpus=1.5,memory=512Mi,pids=100 asks for (each part is optional; \
  ephemon's container hook sets it), in the container's own cgroup, within milliseconds of its start. \
  A tighter limit stays. It needs root and the host's /sys/fs/cgroup read-write.

LOGS
  With OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_LOGS_ENDPOINT) every line of the pods' \
  ephemeral containers is sent there, at least once, with secrets masked. All standard variables for \
  headers, certificates, compression and timeouts are supported. Without an endpoint no log is read, \
  except with --logs-to stdout; if only traces are exported, the runner's own log is read for the \
  job's name and result (--logs off: not even that). Lines that the collector does not accept in time \
  wait in the kubelet's files, and if those are removed on the node's disk (--spool-mib).

METRICS OVER OTLP
  Prometheus fetches /metrics. --otlp-metrics also sends the values to the collector, under the names \
  of OpenTelemetry's conventions: running containers every OTEL_METRIC_EXPORT_INTERVAL milliseconds \
  (60000), a container's final values and a job's histograms, with exemplars, at their ends. An \
  endpoint must be set; OTEL_EXPORTER_OTLP_METRICS_ENDPOINT has precedence over the general one.

EXIT CODES
  0  the agent was told to end (SIGTERM, SIGINT); with --check: nothing that is needed is missing
  1  the agent could not start, or a part of it failed (the last line says why); with --check:
     something that is needed is missing
  2  a flag, a variable or the file of --config is wrong

EXAMPLES
  Watch this machine's kubelet, without an API server:
      ephemon agent --no-api
  With an API server, only the runners of one scale set:
      ephemon agent --kubeconfig ~/.kube/config --node-name worker-1 \\
          --pod-selector actions.github.com/scale-set-name=linux
  Send logs to a collector:
      OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 ephemon agent
  Look at what it found:
      curl http://127.0.0.1:9911/metrics
  Check what is missing on this node:
      ephemon agent --check")]
pub struct Args {
    /// Read flags from this YAML file: a line `flag: value` for each, without the dashes. The command
    /// line has precedence over the environment, the environment over the file
    #[arg(long, env = "EPHEMON_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Do not run: check what the agent needs on this node with these settings, print a table, and
    /// exit with 0 if nothing that is needed is missing
    #[arg(long)]
    pub check: bool,

    /// Where the node's root directory is mounted
    #[arg(long, env = "EPHEMON_NODE_ROOT", value_name = "DIR", default_value = "/")]
    pub node_root: PathBuf,

    /// This node's name in the API [default: the host's name]
    #[arg(long, env = "EPHEMON_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// How to reach the API server [default: $KUBECONFIG, then the pod's service account]
    #[arg(long, env = "EPHEMON_KUBECONFIG", value_name = "FILE", conflicts_with = "no_api")]
    pub kubeconfig: Option<PathBuf>,

    /// Work without the API server: every pod of the node is shown, named by its log directories;
    /// container types, images and exit codes are missing
    #[arg(long, env = "EPHEMON_NO_API")]
    pub no_api: bool,

    /// Show the pods that match this label selector, or one of several: given more than once, or
    /// separated by `;`. Empty: all pods. By default the runners of ARC, and the pods that its
    /// `kubernetes` mode creates for their jobs
    #[arg(
        long,
        env = "EPHEMON_POD_SELECTOR",
        value_name = "SELECTOR",
        value_delimiter = ';',
        num_args = 1,
        default_values = ["actions-ephemeral-runner=True", "runner-pod"]
    )]
    pub pod_selector: Vec<String>,

    /// Show the pods of these CI systems, too: gitlab, buildkite, tekton, jenkins, argo. Their jobs have
    /// the names, URLs and steps that the pods say
    #[arg(
        long,
        env = "EPHEMON_CI_SYSTEM",
        value_name = "SYSTEM",
        value_delimiter = ',',
        num_args = 1,
        conflicts_with = "no_api"
    )]
    pub ci_system: Vec<CiSystem>,

    /// Take a field of a job from its pod: FIELD is repository, repository-url, provider, pipeline, run,
    /// run-url, job, job-title, job-url, commit, ref or worker, SOURCE is label, annotation or env
    /// [example: repository=label:example.com/repository,run=annotation:example.com/run]
    #[arg(
        long,
        env = "EPHEMON_JOB_IDENTITY",
        value_name = "FIELD=SOURCE:NAME",
        value_delimiter = ',',
        num_args = 1,
        conflicts_with = "no_api"
    )]
    pub job_identity: Vec<Mapping>,

    /// Of which pods containers that somebody attached by hand, as `kubectl debug` does, are reported:
    /// the selected ones, all of the node (a second watch of pods), or off
    #[arg(
        long,
        env = "EPHEMON_DEBUG_CONTAINERS",
        value_name = "PODS",
        value_enum,
        default_value = "selected"
    )]
    pub debug_containers: DebugScope,

    /// Whether containers in containers, such as those of Docker in Docker, are reported. With off they
    /// have no metrics, names or spans; what they use beside a pod still counts in the pod's values
    #[arg(
        long,
        env = "EPHEMON_NESTED_CONTAINERS",
        value_name = "WHETHER",
        value_enum,
        default_value = "on"
    )]
    pub nested_containers: NestedContainers,

    /// Ask the container runtime for names and exit codes at this socket, below --node-root
    /// [example: /run/containerd/containerd.sock]
    #[arg(long, env = "EPHEMON_CRI_SOCKET", value_name = "SOCKET")]
    pub cri_socket: Option<PathBuf>,

    /// Have the runtime pull the images of ephemeral containers before the kubelet asks for them, one
    /// after the other: at most so many at one time, of one pod at most half of them. Without
    /// credentials: pods with imagePullSecrets are left to the kubelet. Needs --cri-socket [default: off]
    #[arg(
        long,
        env = "EPHEMON_PRE_PULL",
        value_name = "COUNT",
        requires = "cri_socket",
        conflicts_with = "no_api",
        value_parser = clap::value_parser!(u8).range(1..=64)
    )]
    pub pre_pull: Option<u8>,

    /// The address to serve /metrics, /healthz and /readyz at
    #[arg(long, env = "EPHEMON_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9911")]
    pub listen: SocketAddr,

    /// Require TLS, client certificates and passwords on /metrics as configured in this file, the
    /// web configuration file of Prometheus and its exporters (`tls_server_config`,
    /// `basic_auth_users`). /healthz and /readyz stay open. Reloaded when it, or a file that it
    /// names, changes
    #[arg(
        long,
        visible_alias = "web.config.file",
        env = "EPHEMON_WEB_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub web_config_file: Option<PathBuf>,

    /// Read a container's CPU time, memory and tasks this often once it has run for half a minute,
    /// and all its values every five seconds; before that all are read up to ten times a second
    #[arg(
        long,
        env = "EPHEMON_SAMPLE_INTERVAL",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = parse_positive
    )]
    pub sample_interval: Duration,

    /// CPU time that sampling may use, in hundredths of one CPU; beyond it samples are delayed.
    /// Final readings are not delayed
    #[arg(
        long,
        env = "EPHEMON_SAMPLE_BUDGET",
        value_name = "PERCENT",
        default_value = "2",
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    pub sample_budget: u8,

    /// Report an ended container for at most this long; it is dropped earlier once every scraper of
    /// this time has fetched it twice
    #[arg(
        long,
        env = "EPHEMON_RETAIN_ENDED",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = parse
    )]
    pub retain_ended: Duration,

    /// Show at most this many ended containers; the oldest are dropped first and counted
    #[arg(
        long,
        env = "EPHEMON_MAX_ENDED",
        value_name = "COUNT",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_ended: u32,

    /// Show only the families of metrics that one of these patterns matches: names, in which `*` stands
    /// for any letters [default: all]
    #[arg(
        long,
        env = "EPHEMON_METRICS_ALLOW",
        value_name = "PATTERN",
        value_delimiter = ',',
        num_args = 1
    )]
    pub metrics_allow: Vec<Pattern>,

    /// Show no family that one of these patterns matches, though --metrics-allow does, too
    #[arg(
        long,
        env = "EPHEMON_METRICS_DENY",
        value_name = "PATTERN",
        value_delimiter = ',',
        num_args = 1
    )]
    pub metrics_deny: Vec<Pattern>,

    /// Limit ephemeral containers to what `EPHEMON_LIMITS` in their spec asks for, by writing to
    /// their cgroups: needs /sys/fs/cgroup read-write
    #[arg(long, env = "EPHEMON_ENFORCE_LIMITS", conflicts_with = "no_api")]
    pub enforce_limits: bool,

    /// Have the container runtime set these limits when it creates the container, so that they hold from
    /// its first instruction, start init in front of an image's own entrypoint where the hook asks, and
    /// tell of starts and ends: register as an NRI plugin at this socket, below --node-root. With --no-api
    /// it only tells [example: /var/run/nri/nri.sock]
    #[arg(long, env = "EPHEMON_NRI_SOCKET", value_name = "SOCKET")]
    pub nri_socket: Option<PathBuf>,

    /// The kubelet's cgroup below the hierarchy's root [default: found among the usual places]
    #[arg(long, env = "EPHEMON_KUBEPODS", value_name = "PATH")]
    pub kubepods: Option<PathBuf>,

    /// The kubelet's directory, below --node-root, which contains the pods' volumes with the hook's
    /// journals [default: /var/lib/kubelet, or that of k0s or `MicroK8s` where only those have pods]
    #[arg(long, env = "EPHEMON_KUBELET_ROOT", value_name = "DIR")]
    pub kubelet_root: Option<PathBuf>,

    /// The parent of a job's span: none, or the run's span as the OpenTelemetry Collector's GitHub
    /// receiver sends it
    #[arg(long, env = "EPHEMON_TRACE_PARENT", value_name = "PARENT", default_value = "none")]
    pub trace_parent: TraceParent,

    /// When a job's spans are sent: together at its end, or each as it ends
    #[arg(long, env = "EPHEMON_TRACE_MODE", value_name = "MODE", default_value = "whole")]
    pub trace_mode: TraceMode,

    /// Directory for the agent's lock (one agent per node), counts of jobs, records of running
    /// jobs, positions in logs, and data that waits for the collector; below --node-root
    #[arg(long, env = "EPHEMON_STATE_DIR", value_name = "DIR", default_value = "/var/lib/ephemon")]
    pub state_dir: PathBuf,

    /// What is exported
    #[command(flatten)]
    pub export: ExportArgs,

    /// The job page
    #[command(flatten)]
    pub page: PageArgs,

    /// The agent's own log
    #[command(flatten)]
    pub log: LogArgs,

    /// Every flag's value and where it was set
    #[arg(skip)]
    pub settings: Vec<Setting>,
}

/// The parent of a job's root span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TraceParent {
    /// No parent.
    None,
    /// The span of the workflow run.
    GithubRun,
}

/// Whether nested containers are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NestedContainers {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// When spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TraceMode {
    /// All spans of a job together, at its end.
    Whole,
    /// Each span when it ends.
    Eager,
}

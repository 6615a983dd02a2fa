//! The agent's beginnings and ends, as whoever starts it sees them: what is wrong is said in a
//! sentence, and what can go on goes on.

mod operating;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::http;
use crate::support::ports;
use crate::support::programs;

const PATIENCE: Duration = Duration::from_mins(1);
const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

/// A node's directories without a kernel: a version 2 tree of plain files with one container.
fn node() -> TempDir {
    let node = tempfile::tempdir().unwrap();
    // As the kubelet does: first the log's directory, then the container.
    fs::create_dir_all(node.path().join(format!("var/log/pods/ci_runner-1_{UID}/job"))).unwrap();
    let cgroup = node.path().join("sys/fs/cgroup");
    let container = cgroup.join(format!("kubepods/burstable/pod{UID}")).join("a".repeat(64));
    fs::create_dir_all(&container).unwrap();
    fs::write(cgroup.join("cgroup.controllers"), "cpu memory\n").unwrap();
    fs::write(container.join("cpu.stat"), "usage_usec 1500000\n").unwrap();
    fs::write(container.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
    node
}

struct Started {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Started {
    fn on(node: &Path, flags: &[&str]) -> Self {
        Self::with(node, flags, &[])
    }

    fn with(node: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(programs::ephemon())
            .args(["agent", "--listen", "127.0.0.1:0", "--node-name", "it", "--node-root"])
            .arg(node)
            .args(flags)
            .env_remove("KUBECONFIG")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log, seen: String::new() }
    }

    /// Reads the log up to a line with these words.
    fn says(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            self.seen.push_str(&line);
            assert!(read > 0, "never said {words:?}:\n{}", self.seen);
            if line.contains(words) {
                return line;
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        let line = self.says("listening on http://");
        let (_, address) = line.trim().split_once("http://").unwrap();
        address.parse().unwrap()
    }

    fn end(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.seen);
            std::thread::sleep(Duration::from_millis(5));
        };
        self.log.read_to_string(&mut self.seen).unwrap();
        (status, std::mem::take(&mut self.seen))
    }

    fn terminate(self) -> (ExitStatus, String) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.end()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

/// Asks until the answer satisfies.
fn until(address: SocketAddr, path: &str, satisfied: impl Fn(u16, &str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let answer = http::get(address, path, "text/plain").unwrap();
        if satisfied(answer.status, &answer.body) {
            return answer.body;
        }
        assert!(start.elapsed() < PATIENCE, "{path}: {} {}", answer.status, answer.body);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_an_api_a_container_is_named_by_its_log_directory_and_sigterm_ends_it_well() {
    let node = node();
    let mut agent = Started::on(node.path(), &["--no-api"]);
    let address = agent.address();
    until(address, "/readyz", |status, _| status == 200);
    let shown = "ephemon_container_cpu_usage_seconds_total{namespace=\"ci\",pod=\"runner-1\",\
                 container=\"job\",container_type=\"unknown\"} 1.5";
    until(address, "/metrics", |_, body| body.contains(shown));
    let (status, log) = agent.terminate();
    assert!(status.success(), "{status}\n{log}");
    assert!(log.contains("container types, images and exit codes are missing"), "{log}");
}

#[test]
fn families_are_chosen_by_patterns_and_the_settings_say_so() {
    let node = node();
    let flags =
        ["--no-api", "--metrics-allow", "ephemon_*,no_such", "--metrics-deny", "*_start_time_*"];
    let mut agent = Started::on(node.path(), &flags);
    let address = agent.address();
    let shown = "ephemon_container_cpu_usage_seconds_total{";
    let page = until(address, "/metrics", |_, body| body.contains(shown));
    for hidden in ["ephemon_container_start_time_seconds", "process_"] {
        assert!(!page.contains(hidden), "{page}");
    }
    let settings = page.lines().find(|line| line.starts_with("ephemon_agent_settings_info{"));
    let settings = settings.unwrap_or_else(|| panic!("{page}"));
    for label in [
        "api=\"false\"",
        "nri=\"false\"",
        "metrics_allow=\"ephemon_*,no_such\"",
        "metrics_deny=\"*_start_time_*\"",
        "retain_ended=\"300s\"",
    ] {
        assert!(settings.contains(label), "{settings}");
    }
    let (_, log) = agent.terminate();
    assert!(log.contains("--metrics-allow: no metric is called no_such"), "{log}");

    let wrong = ["--no-api", "--metrics-deny", "ephemon_(a|b)"];
    let (status, log) = Started::on(node.path(), &wrong).end();
    assert_eq!(status.code(), Some(2));
    assert!(log.contains("`(` is in no metric's name"), "{log}");
}

#[test]
fn a_second_agent_on_the_node_names_the_first() {
    let node = node();
    let mut first = Started::on(node.path(), &["--no-api"]);
    first.address();
    let pid = first.child.id();
    let (status, log) = Started::on(node.path(), &["--no-api"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("another ephemon agent (process {pid})")), "{log}");
    Started::on(node.path(), &["--no-api", "--state-dir", "/elsewhere"]).address();
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = node();
    let output = Command::new(programs::ephemon())
        .args(["agent", "--no-api", "--listen", &address, "--node-root"])
        .arg(node.path())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains(&address) && log.contains("--listen"), "{log}");
}

#[test]
fn a_web_configuration_is_kept_to_and_one_that_makes_no_sense_is_named_with_its_key() {
    let node = node();
    let file = node.path().join("web.yaml");
    fs::write(&file, "basic_auth_user:\n  prometheus: x\n").unwrap();
    let flags = ["--no-api", "--web-config-file", file.to_str().unwrap()];
    let (status, log) = Started::on(node.path(), &flags).end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("web.yaml") && log.contains("basic_auth_user`"), "{log}");

    // A hash of cost 4.
    let hash = "$2y$04$UqsZyTbCf6BbLYsvLbmqY.Cjmo0WtWDNi/fQCWgNWg/vZrVcL7C4a";
    fs::write(&file, format!("basic_auth_users:\n  prometheus: {hash}\n")).unwrap();
    let mut agent = Started::on(node.path(), &flags);
    let address = agent.address();
    until(address, "/readyz", |status, _| status == 200);
    until(address, "/metrics", |status, _| status == 401);
}

#[test]
fn a_setting_of_telemetry_that_makes_no_sense_is_warned_of_and_the_agent_runs() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1");
    for wrong in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_SDK_DISABLED", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=ci,oops"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "collector:4317"),
        ("OTEL_LOGS_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer x"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
    ] {
        let node = node();
        let variables = [general, wrong];
        let mut agent = Started::with(node.path(), &["--no-api", "--otlp-metrics"], &variables);
        agent.says(wrong.0.trim_start_matches("OTEL_EXPORTER_OTLP_"));
        let address = agent.address();
        until(address, "/readyz", |status, _| status == 200);
    }
    // Values of the specification are no mistake, and a flag that cannot be followed no end.
    for fine in [("OTEL_METRICS_EXPORTER", "prometheus"), ("OTEL_LOGS_EXPORTER", "OTLP")] {
        let node = node();
        let mut agent = Started::with(node.path(), &["--no-api"], &[fine]);
        let address = agent.address();
        until(address, "/readyz", |status, _| status == 200);
        assert!(!agent.seen.contains("ignored"), "{}", agent.seen);
    }
}

#[test]
fn a_missing_cgroup_mount_is_said_and_the_agent_serves_on_unready() {
    let node = tempfile::tempdir().unwrap();
    let mut agent = Started::on(node.path(), &["--no-api"]);
    let address = agent.address();
    let line = agent.says("no cgroup file system");
    assert!(line.contains("--node-root") && line.contains("retrying in"), "{line}");
    let missing = until(address, "/readyz", |status, _| status == 503);
    assert!(missing.contains("cgroup"), "{missing}");
    until(address, "/metrics", |status, body| status == 200 && body.contains("process_cpu"));
}

/// A kubeconfig that names a port where nobody listens.
fn kubeconfig(node: &Path) -> PathBuf {
    let closed = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    let kubeconfig = node.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         clusters: [{{name: it, cluster: {{server: \"http://{closed}\"}}}}]\n\
         users: [{{name: it, user: {{token: \"do-not-tell\"}}}}]\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n"
    );
    fs::write(&kubeconfig, text).unwrap();
    kubeconfig
}

#[test]
fn the_kubeconfig_of_kubectl_is_taken_where_no_other_is_given() {
    let node = node();
    let output = Command::new(programs::ephemon())
        .args(["agent", "--listen", "127.0.0.1:0", "--node-root"])
        .arg(node.path())
        .env("KUBECONFIG", node.path().join("no-such-file"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("no-such-file"), "{log}");
}

#[test]
fn a_dead_api_server_is_named_and_the_kernels_figures_are_still_read() {
    let node = node();
    let kubeconfig = kubeconfig(node.path());
    let flags = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--log", "debug"];
    let mut agent = Started::on(node.path(), &flags);
    let address = agent.address();
    agent.says("refused");
    let missing = until(address, "/readyz", |status, body| {
        status == 503 && !body.contains("cgroup") && body.contains("API")
    });
    assert!(missing.contains("list of pods"), "{missing}");
    until(address, "/metrics", |_, body| {
        body.contains("ephemon_agent_containers_discovered_total{source=\"startup\"} 1")
    });
    let failures = "ephemon_agent_watch_failures_total{watch=\"pods\"} ";
    until(address, "/metrics", |_, body| {
        let failed = body.lines().find_map(|line| line.strip_prefix(failures));
        body.contains("ephemon_agent_watch_up{watch=\"pods\"} 0\n") && failed != Some("0")
    });
    let (status, log) = agent.terminate();
    assert!(status.success(), "{status}\n{log}");
    assert!(!log.contains("do-not-tell"), "{log}");
}

#[test]
fn no_way_to_the_api_server_names_both_ways_and_how_to_do_without() {
    let node = node();
    let (status, log) = Started::on(node.path(), &[]).end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("--kubeconfig") && log.contains("--no-api"), "{log}");
}

#[test]
fn files_in_the_state_directory_are_the_agents_alone() {
    let node = node();
    let mut agent = Started::on(node.path(), &["--no-api", "--state-dir", "/state"]);
    agent.address();
    let entries = fs::read_dir(node.path().join("state")).unwrap();
    // What the agent writes beside a file and then renames may be gone by now.
    let modes = entries.map(Result::unwrap).filter_map(|entry| {
        let mode = entry.metadata().ok()?.permissions().mode() & 0o077;
        Some((entry.file_name(), mode))
    });
    let modes: Vec<_> = modes.collect();
    assert!(modes.iter().any(|(name, _)| name == "agent.lock"), "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0), "{modes:?}");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said_and_no_reason_to_stop() {
    let node = node();
    fs::write(node.path().join("file"), "").unwrap();
    let mut agent = Started::on(node.path(), &["--no-api", "--state-dir", "/file/state"]);
    let line = agent.says("cannot lock");
    assert!(line.contains("second agent"), "{line}");
    agent.address();
}

#[test]
fn the_log_is_json_when_asked_for_and_a_senseless_filter_is_refused() {
    let node = node();
    let mut agent = Started::on(node.path(), &["--no-api", "--log-format", "json"]);
    let line = agent.says("listening on http://");
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["level"], "INFO");
    let (status, log) = Started::on(node.path(), &["--no-api", "--log", "a=b=c"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("--log"), "{log}");
}

#[test]
fn what_has_nowhere_to_go_by_otlp_is_a_sentence_that_says_what_to_set_and_no_end() {
    let node = node();
    for (flag, signal) in [("--otlp-metrics", "METRICS"), ("--own-traces", "TRACES")] {
        let mut agent = Started::on(node.path(), &["--no-api", flag]);
        let line = agent.says(flag);
        let (own, exporter) =
            (format!("OTLP_{signal}_ENDPOINT"), format!("OTEL_{signal}_EXPORTER"));
        for word in ["OTEL_EXPORTER_OTLP_ENDPOINT", &own, &format!("{exporter}=otlp")] {
            assert!(line.contains(word), "{line}");
        }
        let address = agent.address();
        until(address, "/readyz", |status, _| status == 200);
    }
}

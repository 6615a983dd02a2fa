//! `ephemon advice` by a real Prometheus: one that scrapes pages whose jobs are made up, and one that
//! scrapes the demo's agent; and by that agent's own counts.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ephemon_base::clock;
use serde_json::Value;

use crate::support::parts::{Part, all_there};
use crate::support::ports;
use crate::support::process::{Running, until};
use crate::support::programs;
use crate::support::prometheus::Prometheus;

/// The demo plays a whole workflow.
const PATIENCE: Duration = Duration::from_mins(5);
const GIB: f64 = 1_073_741_824.0;
/// What the author of a workflow calls it, in the text format.
const HOSTILE: &str = r#"</td><script>\"} or vector(1) #\n| `x` |"#;
/// The same to Prometheus and to people.
const HOSTILE_TEXT: &str = "</td><script>\"} or vector(1) #\n| `x` |";

#[test]
fn what_twelve_jobs_used_becomes_requests_and_limits() {
    if !all_there(&[Part::Program("prometheus")]) {
        return;
    }
    let [with, without] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let page = Arc::new(Mutex::new(made_up(false)));
    let target = serve(200, Arc::clone(&page));
    let with = Prometheus::start(with.path(), &[target]);
    let without = Prometheus::without_honor_labels(without.path(), &[target]);
    let scraped = |query: &str| {
        for prometheus in [&with, &without] {
            let any = || prometheus.query(query).pop();
            until(PATIENCE, any).unwrap_or_else(|| panic!("nothing for {query}"));
        }
    };
    scraped("count_over_time(ephemon_container_memory_working_set_bytes[1m]) > 3");
    *page.lock().unwrap() = made_up(true);
    scraped("count_over_time(ephemon_container_end_time_seconds[1m]) > 2");
    for prometheus in [&with, &without] {
        let url = format!("http://{}", prometheus.address());
        let line = ["--prometheus", &url, "--since", "10m", "-o", "json"];
        let price = ["--node-price", "1", "--node-cpus", "4", "--node-memory", "16"];
        let advice: Value = serde_json::from_str(&told(&[&line[..], &price].concat())).unwrap();
        let rows = advice["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{advice:#}");
        let row = rows.iter().find(|row| row["kind"]["job"] == "build").unwrap();
        assert_eq!(row["kind"]["repository"], "octo/hello");
        assert_eq!(row["usage"]["jobs"], 12);
        assert_eq!(row["usage"]["scaleSets"][0], "big");
        for (field, expected) in [("p50", 0.55), ("p95", 0.61), ("max", 0.61)] {
            assert_near(&row["usage"]["cpuCores"][field], expected);
        }
        assert_near(&row["usage"]["memoryBytes"]["p95"], GIB);
        assert_near(&row["usage"]["memoryPeakBytes"], 1.5 * GIB);
        assert_near(&row["verdict"]["request"]["cpuCores"], 0.8);
        assert_near(&row["verdict"]["request"]["memoryBytes"], 1.25 * GIB);
        assert_near(&row["verdict"]["limit"]["memoryBytes"], 1.875 * GIB);
        assert_eq!(row["verdict"]["risk"], "low");
        if prometheus.address() == with.address() {
            // Two cores and 4 GiB for 1200 s.
            assert_near(&row["verdict"]["wasteCoreHours"], (2.0 - 0.61) / 3.0);
            assert_near(&row["verdict"]["wasteGibHours"], 1.0);
            assert_near(&row["money"]["waste"], (2.0 - 0.61) / 24.0 + 1.0 / 32.0);
        }
        let hostile = rows.iter().find(|row| row["kind"]["job"] != "build").unwrap();
        assert_eq!(hostile["kind"]["workflow"], HOSTILE_TEXT);
        assert_eq!(hostile["verdict"]["request"], Value::Null, "two jobs are too few");
        assert_eq!(hostile["verdict"]["risk"], "killed");
        let limits = |row: &Value| row["usage"]["limit"]["memoryBytes"].clone();
        assert_near(&limits(row), 8.0 * GIB);
        assert_eq!(limits(hostile), Value::Null, "one of its containers has no limit");
        assert_eq!(advice["jobsElsewhere"], 1);
        assert_eq!(advice["jobsLeftOut"], 0);
        let values = advice["scaleSets"][0]["values"].as_str().unwrap();
        let values: Value = serde_saphyr::from_str(values).unwrap();
        let pod = &values["template"]["spec"];
        let runner = &pod["containers"][0]["resources"];
        assert_eq!((&runner["requests"]["cpu"], &pod["resources"]), (&"800m".into(), &Value::Null));
        // The kernel's peak and a fifth, which the hostile kind needs, too.
        assert_eq!(runner["limits"]["memory"], "1920Mi");

        let matched = format!("workflow={HOSTILE_TEXT}");
        let line = ["--prometheus", &url, "--since", "10m", "--min-jobs", "1", "--match", &matched];
        for form in ["table", "markdown"] {
            let text = told(&[&line[..], &["-o", form]].concat());
            assert!(text.contains("killed") && !text.contains("build"), "{text}");
            assert!(form == "table" || !text.contains("<script>"), "{text}");
        }
    }
}

#[test]
fn the_demos_job_is_found_by_prometheus_and_by_its_agent() {
    if !all_there(&[Part::WritableCgroups, Part::Program("prometheus")]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let agent = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    // First: it must have seen the job's containers run, which they do for seconds only.
    let prometheus = Prometheus::start(scratch.path(), &[agent]);
    let mut demo = Command::new(programs::ephemon());
    demo.args(["demo", "--play", "workflow", "--listen", &agent.to_string()]);
    let mut demo = Running::start(demo.stdout(Stdio::null()).stderr(Stdio::null()));
    let over = || prometheus.query("ephemon_job_result_info").pop();
    until(PATIENCE, over).expect("the job must end");
    let sources = [
        vec!["--prometheus".to_owned(), format!("http://{}", prometheus.address())],
        vec!["--agent".to_owned(), format!("http://{agent}")],
    ];
    for source in sources {
        let mut line: Vec<&str> = source.iter().map(String::as_str).collect();
        line.extend(["--min-jobs", "1", "-o", "json"]);
        let is_prometheus = source[0] == "--prometheus";
        let known = if is_prometheus { "memoryBytes" } else { "containerMemoryBytes" };
        // The last words of a pod come a scrape or two after the job's.
        let row = until(PATIENCE, || {
            let advice: Value = serde_json::from_str(&told(&line)).unwrap();
            let row = advice["rows"].as_array()?.first()?.clone();
            let is_whole = row["verdict"]["request"]["cpuCores"].is_f64()
                && row["usage"]["cpuMeanCores"].is_f64()
                && row["usage"][known]["max"].is_f64();
            is_whole.then_some(row)
        });
        let row = row.unwrap_or_else(|| panic!("no advice by {line:?}: {}", told(&line)));
        assert_ne!(row["kind"]["repository"], "", "{row:#}");
        assert!(row["usage"]["cpuMeanCores"].as_f64().unwrap() > 0.001, "{row:#}");
        let memory = row["usage"][known]["max"].as_f64().unwrap();
        assert!((1e6..GIB).contains(&memory), "{row:#}");
        // One container is not its pod.
        let advised = row["verdict"]["request"]["memoryBytes"].as_f64();
        assert_eq!(advised.is_some_and(|bytes| bytes >= GIB / 4.0), is_prometheus, "{row:#}");
    }
    demo.terminate(PATIENCE);
}

#[test]
fn what_is_wrong_is_said_with_the_url_and_what_to_do() {
    let refusing = serve(401, Arc::new(Mutex::new("who are you\u{1b}[2J".into())));
    let strange = serve(200, Arc::new(Mutex::new("<html>".into())));
    let nobody = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    for (flag, address, expected) in [
        ("--prometheus", refusing, "--bearer-token-file"),
        ("--prometheus", strange, "is the URL that of its root?"),
        ("--prometheus", nobody, "port-forward"),
        ("--agent", refusing, "who are you[2J"),
        ("--agent", strange, "protobuf"),
    ] {
        let url = format!("http://{address}");
        let output = run(&[flag, &url]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&url) && said.contains(expected), "{said}");
        assert!(!said.contains('\u{1b}') && said.lines().count() == 1, "{said}");
    }
}

fn run(line: &[&str]) -> Output {
    let mut command = Command::new(programs::ephemon());
    command.arg("advice").args(line).env_remove("HTTP_PROXY").env_remove("http_proxy");
    command.output().unwrap()
}

fn told(line: &[&str]) -> String {
    let output = run(line);
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_near(value: &Value, expected: f64) {
    let near = value.as_f64().is_some_and(|it| (it - expected).abs() < expected / 1000.0);
    assert!(near, "{value} is not {expected}");
}

/// Twelve jobs of one kind and two of a hostile one; they run, or are over.
fn made_up(are_over: bool) -> String {
    let now = clock::now_ns() as f64 / 1e9;
    let mut text = String::new();
    for number in 0..14_u32 {
        let is_hostile = number >= 12;
        let (workflow, job, kills) =
            if is_hostile { (HOSTILE, "x", 1) } else { ("CI", "build", 0) };
        let pod = format!("namespace=\"ci\",pod=\"big-abcde-runner-{number:05}\"");
        let names = format!(
            "{pod},organization=\"octo\",repository=\"hello\",workflow=\"{workflow}\",job_id=\"{job}\""
        );
        let own = format!("{pod},container=\"job\",container_type=\"ephemeral\"");
        let runner = format!("{pod},container=\"runner\",container_type=\"container\"");
        let start = 1.79e9;
        for line in [
            format!("job_info{{{names},run_id=\"1\"}} 1"),
            format!("container_start_time_seconds{{{own}}} {start}"),
            // The runner waited for its job for an hour.
            format!("container_start_time_seconds{{{runner}}} {}", start - 3600.0),
            format!("container_cpu_usage_seconds_total{{{own}}} {}", 49 + number),
            format!("container_cpu_usage_seconds_total{{{runner}}} 1"),
            format!("container_memory_working_set_bytes{{{own}}} {}", 0.75 * GIB),
            format!("container_memory_working_set_bytes{{{runner}}} {}", 0.25 * GIB),
            format!("container_memory_peak_bytes{{{own}}} {}", 1.5 * GIB),
            format!("container_memory_limit_bytes{{{runner}}} {}", 8.0 * GIB),
            format!("container_memory_events_total{{{own},event=\"oom_kill\"}} {kills}"),
        ] {
            writeln!(text, "ephemon_{line}").unwrap();
        }
        if are_over {
            writeln!(text, "ephemon_job_result_info{{{names},result=\"success\"}} 1").unwrap();
            writeln!(text, "ephemon_container_end_time_seconds{{{own}}} {}", start + 100.0)
                .unwrap();
        }
        if is_hostile {
            let dind = format!("{pod},container=\"dind\",container_type=\"sidecar\"");
            writeln!(text, "ephemon_container_start_time_seconds{{{dind}}} {start}").unwrap();
        }
        for (resource, value) in [("cpu", 2.0), ("memory", 4.0 * GIB)] {
            let labels = format!("{pod},container=\"runner\",resource=\"{resource}\"");
            writeln!(text, "kube_pod_container_resource_requests{{{labels}}} {value}").unwrap();
        }
    }
    // One by the reference hook: what its job uses is in another pod.
    let kind = "organization=\"octo\",repository=\"hello\",workflow=\"CI\",job_id=\"build\"";
    for pod in ["big-abcde-runner-other", "big-abcde-runner-other-workflow"] {
        let container = "container=\"x\",container_type=\"container\"";
        let pod = format!("namespace=\"ci\",pod=\"{pod}\"");
        writeln!(text, "ephemon_container_start_time_seconds{{{pod},{container}}} 1.79e9").unwrap();
    }
    let runner = "namespace=\"ci\",pod=\"big-abcde-runner-other\"";
    writeln!(text, "ephemon_job_info{{{runner},{kind}}} 1").unwrap();
    if are_over {
        let info = "ephemon_job_result_info";
        writeln!(text, "{info}{{{runner},{kind},result=\"success\"}} 1").unwrap();
    }
    writeln!(text, "made_up_at {now}").unwrap();
    text
}

/// Serves a page, which may change, until the process ends.
fn serve(status: u16, page: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 16384];
            if stream.read(&mut request).is_err() {
                continue;
            }
            let head =
                format!("HTTP/1.0 {status} X\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n");
            let page = page.lock().unwrap().clone();
            stream.write_all(head.as_bytes()).and(stream.write_all(page.as_bytes())).ok();
        }
    });
    address
}

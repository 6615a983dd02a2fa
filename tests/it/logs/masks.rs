//! What a job told to be masked is masked in all its containers, for as long as its pod is there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::backend::{Backend, LogLine};
use super::outage::figure;
use super::{PATIENCE, arrived};
use crate::support::agent::Agent;
use crate::support::collector::Wire;
use crate::support::process::until;
use crate::support::site::{Pod, Site};

const VALUE: &str = "kaffeeklatsch77";

/// The record with this text in its body.
fn come(backend: &Backend, text: &str, agent: &Agent) -> LogLine {
    let found = || backend.lines().into_iter().find(|line| line.body.contains(text));
    until(PATIENCE, found).unwrap_or_else(|| panic!("no {text:?} came:\n{}", agent.log()))
}

fn none_shows(backend: &Backend) {
    let lines = backend.lines();
    let shows: Vec<&LogLine> = lines.iter().filter(|line| line.body.contains(VALUE)).collect();
    assert!(shows.is_empty(), "{shows:?}");
}

/// The container's rotated log with the time `suffix`.
fn rotated(site: &Site, pod: &Pod, suffix: &str) -> PathBuf {
    let logs = format!("var/log/pods/ci_{}_{}/job/0.log.{suffix}", pod.name, pod.uid);
    site.root().join(logs)
}

/// Compresses it as the kubelet does.
fn compress(path: &Path) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&fs::read(path).unwrap()).unwrap();
    let beside = path.with_file_name("packed.tmp");
    fs::write(&beside, packed.finish().unwrap()).unwrap();
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    fs::rename(beside, name).unwrap();
    fs::remove_file(path).unwrap();
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_value_told_before_the_agent_is_started_anew_stays_masked() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let agent = backend.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    job.say(&format!("::add-mask::{VALUE}"));
    job.say(&format!("first {VALUE}"));
    come(&backend, "first ***", &agent);
    agent.stop();

    job.say(&format!("second {VALUE}"));
    let agent = backend.agent(&site, &[]);
    come(&backend, "second ***", &agent);
    job.rotate("20261125-120000");
    job.say("third begins");
    come(&backend, "third begins", &agent);
    agent.stop();

    compress(&rotated(&site, &pod, "20261125-120000"));
    job.say(&format!("third {VALUE}"));
    let agent = backend.agent(&site, &[]);
    come(&backend, "third ***", &agent);
    none_shows(&backend);
    for path in files(&site.root().join("var/lib/ephemon")) {
        // The control socket holds nothing.
        if !path.is_file() {
            continue;
        }
        let text = fs::read(&path).unwrap();
        let found = text.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        assert!(!found, "{} holds the value", path.display());
    }
    agent.stop();
}

#[test]
fn where_the_telling_line_is_gone_the_text_is_withheld_or_marked() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let agent = backend.agent(&site, &[]);
    let (pod, another) = (site.pod(1), site.pod(2));
    let mut job = pod.start("job");
    let mut neighbour = another.start("job");
    job.say(&format!("::add-mask::{VALUE}"));
    job.say("first");
    neighbour.say("neighbour's first");
    come(&backend, "neighbour's first", &agent);
    until(PATIENCE, || backend.lines().iter().any(|line| line.body == "first").then_some(()))
        .expect("the first line");
    job.rotate("20261125-120000");
    job.say("after the rotation");
    come(&backend, "after the rotation", &agent);
    agent.stop();
    fs::remove_file(rotated(&site, &pod, "20261125-120000")).unwrap();

    job.say(&format!("second {VALUE}"));
    neighbour.say("neighbour's second");
    let agent = backend.agent(&site, &[]);
    let withheld = come(&backend, "[ephemon] withheld", &agent);
    assert_eq!(withheld.attribute("ephemon.log.withheld"), "unproven");
    come(&backend, "neighbour's second", &agent);
    none_shows(&backend);
    let counted = r#"ephemon_agent_dropped_items_total{signal="logs",reason="withheld"}"#;
    let reversed = r#"ephemon_agent_dropped_items_total{reason="withheld",signal="logs"}"#;
    let counted = figure(&agent, counted).max(figure(&agent, reversed));
    assert!(counted >= 1.0, "{counted}");
    agent.until_logged("--log-unproven mark");
    agent.stop();

    job.say("third");
    let agent = backend.agent(&site, &["--log-unproven", "mark"]);
    let marked = come(&backend, "third", &agent);
    assert_eq!(marked.attribute("ephemon.log.unproven"), "true");
    agent.stop();
}

#[test]
fn a_value_stays_masked_when_the_log_that_told_it_is_over() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let agent = backend.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    job.say(&format!("::add-mask::{VALUE}"));
    job.say(&format!("one {VALUE}"));
    job.end();
    let is_end = |line: &LogLine| line.event == "ephemon.log.end";
    until(PATIENCE, || backend.records().iter().any(is_end).then_some(()))
        .unwrap_or_else(|| panic!("no end came:\n{}", agent.log()));
    let mut step = pod.start("step");
    step.say(&format!("two {VALUE}"));
    come(&backend, "two ***", &agent);
    none_shows(&backend);
    agent.stop();
}

#[test]
fn logs_that_are_there_at_the_start_are_masked_by_what_any_of_them_told() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let pod = site.pod(1);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut containers = names.map(|name| pod.start(name));
    for container in &mut containers {
        container.say(&format!("here is {VALUE}"));
    }
    containers[3].say(&format!("::add-mask::{VALUE}"));
    let agent = backend.agent(&site, &[]);
    arrived(&backend, names.len(), &agent);
    none_shows(&backend);
    agent.stop();
}

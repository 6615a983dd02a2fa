//! A node with cri-dockerd, where a container's log is a link to a file of Docker's; and the order of
//! what several containers of a pod say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::PATIENCE;
use super::backend::Backend;
use super::outage::figure;
use crate::support::agent::TEXT;
use crate::support::collector::Wire;
use crate::support::process::until;
use crate::support::site::{Pod, Site};

const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

/// Puts Docker's file in the place of the container's log; returns it.
fn link(site: &Site, pod: &Pod, container: &str) -> PathBuf {
    let docker = site.root().join("var/lib/docker/containers").join(ID);
    fs::create_dir_all(&docker).unwrap();
    let file = docker.join(format!("{ID}-json.log"));
    fs::write(&file, "").unwrap();
    let log = pod.log(container);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::remove_file(&log).ok();
    symlink(format!("/var/lib/docker/containers/{ID}/{ID}-json.log"), log).unwrap();
    file
}

fn json(text: &str, second: u32) -> String {
    let time = format!("2026-11-23T12:16:{second:02}.5Z");
    format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
}

#[test]
fn a_log_of_dockers_is_read_where_its_directory_is_allowed() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let pod = site.pod(1);
    let file = link(&site, &pod, "job");
    let job = pod.start("job");
    let agent = backend.agent(&site, &["--log-link-dirs", "/var/lib/docker/containers"]);
    let text = json("hello from docker\\n", 1)
        + &json("half of a line, ", 2)
        + &json("and the rest\\n", 3)
        + &json("the end", 4);
    fs::write(&file, text).unwrap();
    until(PATIENCE, || (backend.lines().len() >= 2).then_some(())).expect("the first lines");
    job.end();
    let end = until(PATIENCE, || {
        backend.records().into_iter().find(|record| record.event == "ephemon.log.end")
    });
    let end = end.unwrap_or_else(|| panic!("the log ends: {}", agent.log()));
    assert_eq!(end.attribute("ephemon.log.complete"), "true", "{end:?}");
    let lines = backend.lines();
    let bodies: Vec<&str> = lines.iter().map(|line| line.body.as_str()).collect();
    assert_eq!(bodies, ["hello from docker", "half of a line, and the rest", "the end"]);
    let last = lines.last().unwrap();
    assert_eq!(last.attribute("ephemon.log.unended"), "true");
    assert_eq!(last.attribute("ephemon.log.sequence"), "3");
    agent.stop();
}

#[test]
fn a_log_of_dockers_is_counted_and_said_once_where_it_is_not_allowed() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let pod = site.pod(1);
    let agent = backend.agent(&site, &[]);
    for container in ["job", "step-1"] {
        let file = link(&site, &pod, container);
        fs::write(&file, json("hello from docker\\n", 1)).unwrap();
        drop(pod.start(container));
    }
    let series = "ephemon_agent_logs_refused_total{reason=\"directory\"}";
    let counted = || (figure(&agent, series) > 1.5).then_some(());
    until(PATIENCE, counted).unwrap_or_else(|| panic!("{}", agent.get("/metrics", TEXT).body));
    let said = agent.until_logged("--log-link-dirs");
    assert_eq!(said.matches("a container's log is not read").count(), 1, "{said}");
    assert!(backend.lines().is_empty());
    assert!(!agent.get("/metrics", TEXT).body.contains("ephemon_container_log_complete{"));
    agent.stop();
}

#[test]
fn what_containers_of_a_pod_say_can_be_put_in_order() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let agent = backend.agent(&site, &[]);
    let pod = site.pod(1);
    let (mut one, mut other) = (pod.start("job"), pod.start("step-1"));
    let mut written = Vec::new();
    for number in 0..40 {
        let text = format!("line {number}");
        // Two with one time: some runtimes stamp all that they read at once alike.
        let log = if number % 4 < 2 { &mut one } else { &mut other };
        log.say_at(number / 2, &text);
        written.push(text);
    }
    let all = || (backend.lines().len() >= written.len()).then_some(());
    until(PATIENCE, all).unwrap_or_else(|| panic!("{}", agent.log()));
    let mut lines = backend.lines();
    lines.sort_by_key(|line| {
        let sequence = line.attribute("ephemon.log.sequence").parse::<u64>().unwrap();
        (line.time_unix_nano, sequence)
    });
    let sorted: Vec<String> = lines.into_iter().map(|line| line.body).collect();
    assert_eq!(sorted, written);
    agent.stop();
}

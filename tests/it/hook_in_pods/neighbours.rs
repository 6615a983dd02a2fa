//! What else is on a job's node: another job, the agent.

use std::fs;
use std::thread;

use serde_json::json;

use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::support::process::until;
use crate::support::verdict::{self, Truth};
use crate::support::workflow_images::BUSYBOX;

/// How many steps each of two jobs runs.
const ROUNDS: usize = 5;

#[test]
fn two_jobs_at_once_never_see_each_other() {
    let Some(site) = Site::start() else { return };
    let runners = [site.runner("runner-1"), site.runner("runner-2")];
    thread::scope(|scope| {
        for runner in &runners {
            scope.spawn(|| play(runner));
        }
    });
    for (own, other) in [(&runners[0], &runners[1]), (&runners[1], &runners[0])] {
        let volume = own.directory.volume("ephemon");
        for journal in fs::read_dir(volume.join("journal")).unwrap() {
            let text = fs::read_to_string(journal.unwrap().path()).unwrap();
            assert!(!text.contains(&other.name), "{text}");
        }
        let hosts = || fs::read_to_string(own.directory.hosts()).unwrap();
        // The kubelet writes the file anew at the start of a container, and init restores the names.
        let is_named = || hosts().contains(&format!("{}-web", own.name)).then_some(());
        until(PATIENCE, is_named).unwrap_or_else(|| panic!("{}", hosts()));
        let hosts = hosts();
        assert!(!hosts.contains(&other.name), "{hosts}");
    }
}

/// A job whose containers have the same names and ports as the other's.
fn play(runner: &Runner) {
    let name = &runner.name;
    let script = format!("\"echo {name} > /srv/who; exec httpd -f -p 80 -h /srv\"");
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", script], "portMappings": ["80"],
            "createOptions": format!("--name {name}-web"),
        }),
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[service]);
    for round in 0..ROUNDS {
        let script =
            format!("hostname; wget -qO- http://{name}-web/who; echo {round} > round; cat round");
        let step = runner.script(&state, &script);
        let expected = format!("{name}\n{name}\n{round}\n");
        assert_eq!((step.code, step.stdout), (0, expected), "{}", step.stderr);
    }
    let other = if name == "runner-1" { "runner-2" } else { "runner-1" };
    let step = runner.script(&state, &format!("nslookup {other}-web; wget http://{other}-web/"));
    assert_ne!(step.code, 0, "{step:?}");
    let action = container(BUSYBOX, &json!({"entryPoint": "hostname"}));
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!((step.code, step.printed()), (0, format!("{name}\n")), "{}", step.stderr);
}

#[test]
fn the_agent_shows_every_container_of_a_job_with_its_final_use() {
    let Some(site) = Site::start() else { return };
    // What it says of all its containers is then of this scenario's.
    let agent = site.agent(&["--pod-selector", &site.selector()]);
    let runner = site.runner("runner-1");
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80"], "portMappings": ["80"],
        }),
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[service]);
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    assert_eq!(runner.script(&state, burn).code, 0);
    let mut action = container(BUSYBOX, &json!({"entryPoint": "sh"}));
    action["entryPointArgs"] = json!(["-c", format!("\"{burn}\"")]);
    assert_eq!(runner.call("run_container_step", &action, &state).code, 0);
    let names = ["job", "busybox", "step"];
    let ids = names.map(|name| site.until_status("runner-1", name, id_of));
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);

    let truths: Vec<Truth> = names
        .iter()
        .zip(&ids)
        .map(|(name, id)| Truth {
            namespace: site.namespace().to_owned(),
            pod: "runner-1".to_owned(),
            name: (*name).to_owned(),
            id: id.clone(),
            cpu_ns: None,
        })
        .collect();
    let ledger = verdict::settle(&agent, &truths, PATIENCE);
    for truth in &truths {
        let shown: Vec<_> = ledger
            .all("ephemon_container_info")
            .filter(|(series, _)| series.label("container_id") == truth.id)
            .collect();
        assert!(!shown.is_empty(), "{}: {}", truth.name, agent.log());
        for (series, _) in shown {
            assert_eq!(series.label("container"), truth.name);
            assert_eq!(series.label("container_type"), "ephemeral");
            assert_eq!(series.label("image"), BUSYBOX);
        }
        let labels = [("container", truth.name.as_str()), ("container_type", "ephemeral")];
        let quality = ledger.sum("ephemon_container_final_quality_info", &labels);
        assert_eq!(quality, Some(1.0), "{}", truth.name);
        let cpu = ledger.sum("ephemon_container_cpu_usage_seconds_total", &labels);
        assert!(cpu.is_some_and(|seconds| seconds > 0.0), "{}: {cpu:?}", truth.name);
    }
    assert_eq!(verdict::quality(&ledger, "last_sample"), 0, "{}", verdict::finals(&ledger));
    // What is over is the kubelet's to remove: it would run it again.
    for (name, id) in names.iter().zip(&ids) {
        assert!(site.cri().container_status(id).is_ok(), "{name} was removed");
    }
    agent.stop();
}

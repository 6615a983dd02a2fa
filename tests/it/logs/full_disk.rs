//! No room below the state directory: the agent goes on, says so once, and has lost nothing when
//! there is room again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ephemon_base::clock::now_ns;
use ephemon_contract::Record;
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;

use super::PATIENCE;
use super::backend::Backend;
use super::outage::{figure, numbers, until_spooled};
use crate::support::agent::{Agent, TEXT};
use crate::support::collector::Wire;
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::site::Site;

const LINES: u32 = 3000;

/// What the agent has to say, each once.
const WORDS: [&str; 4] = [
    "logs whose files are removed cannot be kept until the collector takes them",
    "cannot write down how far logs were delivered",
    "cannot save jobs to",
    "cannot keep what is known of jobs under way",
];

/// Takes all the room there is.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    // Smaller and smaller pieces, until nothing fits.
    for size in [65536, 4096, 1] {
        let piece = vec![0; size];
        while filler.write_all(&piece).is_ok() {}
    }
}

fn said(agent: &Agent, words: &str) -> usize {
    agent.log().matches(words).count()
}

#[test]
fn a_full_disk_under_the_state_directory_costs_nothing_when_there_is_room_again() {
    if !all_there(&[Part::MountNamespace, Part::Program("mount")]) {
        return;
    }
    let site = Site::new();
    let backend = Backend::start(Wire::Grpc);
    backend.refuse();
    let agent = site.agent_with_small_state((&backend.endpoint(), backend.protocol()), "1m");
    let state: PathBuf = site.state_of(&agent);
    let filler = state.join("filler");
    fill(&filler);
    let pod = site.pod(1);
    // As init does: without an API server and without a word of it the pod is no job before its end.
    let uid = PodUid::parse(&pod.uid).unwrap();
    let volume =
        NodeRoot::new(site.root()).empty_dir(Path::new("/var/lib/kubelet"), &uid, "ephemon");
    let begun =
        Record::ContainerStarted { at_ns: now_ns(), container: "job".into(), pid: 1, uid: 0 };
    fs::create_dir_all(volume.join("journal")).unwrap();
    fs::write(volume.join("journal/job.jsonl"), begun.to_line().unwrap()).unwrap();
    let mut job = pod.start("job");
    (0..LINES).for_each(|number| job.say(&format!("line {number}")));
    until(PATIENCE, || (backend.attempts() >= 1).then_some(())).expect("it must have tried");
    until(PATIENCE, || (figure(&agent, "ephemon_job_started_total{") > 0.0).then_some(()))
        .unwrap_or_else(|| panic!("no job:\n{}", agent.log()));
    job.end();
    pod.delete();
    for words in WORDS {
        agent.until_logged(words);
    }
    // It tries again and again, and says no more.
    let tried = backend.attempts();
    until(PATIENCE, || (backend.attempts() > tried + 1).then_some(())).expect("more attempts");
    let page = agent.get("/metrics", TEXT);
    assert_eq!(page.status, 200);
    assert!(figure(&agent, "ephemon_agent_log_lag_bytes") > 0.0, "{}", page.body);

    fs::remove_file(&filler).unwrap();
    until_spooled(&agent);
    for kept in ["jobs.json", "logs.checkpoint"] {
        until(PATIENCE, || {
            fs::metadata(state.join(kept)).is_ok_and(|it| it.len() > 0).then_some(())
        })
        .unwrap_or_else(|| panic!("{kept} is not written:\n{}", agent.log()));
    }
    backend.accept();
    let all = usize::try_from(LINES).unwrap();
    until(PATIENCE, || (numbers(&backend).len() >= all).then_some(()))
        .unwrap_or_else(|| panic!("{} came:\n{}", numbers(&backend).len(), agent.log()));
    let end = until(PATIENCE, || {
        backend.records().into_iter().find(|record| record.event == "ephemon.log.end")
    });
    let end = end.expect("the log's last record");
    assert_eq!(end.attribute("ephemon.log.complete"), "true", "{end:?}");
    for words in WORDS {
        assert_eq!(said(&agent, words), 1, "{words}:\n{}", agent.log());
    }
    let page = agent.get("/metrics", TEXT).body;
    let lost = page.lines().filter(|line| {
        line.starts_with("ephemon_agent_dropped_items_total{") && !line.ends_with(" 0")
    });
    assert_eq!(lost.collect::<Vec<_>>(), [""; 0]);
    agent.stop();
}

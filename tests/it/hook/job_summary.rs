//! The timeline that the runner's job completed hook writes, of a whole job.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::rig::Rig;
use super::start::{DEPLOY, node};

/// What a hostile author calls a step; the runner's log has a step in a line.
const HOSTILE: &str = "</script>: ```%%{init}%%; # <img src=x>|";

/// What the runner's worker logs when a step's turn comes.
fn log(rig: &Rig, name: &str) {
    let line =
        format!("[2026-01-01 00:00:00Z INFO StepsRunner] Processing step: DisplayName='{name}'\n");
    fs::create_dir_all(rig.path("_diag")).unwrap();
    fs::write(rig.path("_diag/Worker_20260101-000000-utc.log"), line).unwrap();
}

/// As the runner starts its job completed hook: by Node.js, with a summary file of its own.
fn completed(rig: &Rig, node: &Path, summary: &Path) -> Output {
    let bin = rig.path("ephemon-bin");
    for (from, to) in [
        ("hook.js", "hook.js"),
        ("hook.package.json", "package.json"),
        ("summary.js", "summary.js"),
    ] {
        fs::copy(Path::new(DEPLOY).join(from), bin.join(to)).unwrap();
    }
    let mut process = Command::new(node);
    process.arg(bin.join("summary.js")).env_clear();
    process.env("EPHEMON_VOLUME", rig.path("ephemon")).env("GITHUB_STEP_SUMMARY", summary);
    process.output().unwrap()
}

/// The diagram's lines of a section.
fn bars<'a>(summary: &'a str, section: &str) -> Vec<&'a str> {
    let (_, after) = summary.split_once(&format!("  section {section}\n")).expect(summary);
    after.lines().take_while(|line| line.starts_with("  › ")).collect()
}

#[tokio::test]
async fn a_whole_job_is_one_timeline_after_its_containers_have_ended() {
    let (Some(node), Some(mut rig)) = (node(), Rig::start().await) else { return };
    let state = rig.prepared().await;
    log(&rig, "Build it");
    let script = rig.script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    assert_eq!(rig.call("run_script_step", &script, &state).await.code, 0);
    log(&rig, HOSTILE);
    rig.set("GITHUB_ACTION", "__run_2");
    assert_eq!(rig.call("run_script_step", &rig.script("exit 42"), &state).await.code, 42);
    log(&rig, "An action");
    rig.set("GITHUB_ACTION", "__action");
    let action = json!({"image": "init", "entryPoint": "sh", "entryPointArgs": ["-c", "true"]});
    assert_eq!(rig.call("run_container_step", &action, &state).await.code, 0);
    assert_eq!(rig.call("cleanup_job", &Value::Null, &state).await.code, 0);

    let summary = rig.path("_work/_temp/_runner_file_commands/step_summary_x");
    fs::write(&summary, "").unwrap();
    let output = completed(&rig, &node, &summary);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.contains("\n```mermaid\ngantt\n  dateFormat x\n"), "{text}");
    let name = |line: &&str| line.split(" :").next().unwrap().trim().to_owned();
    let names = |section| bars(&text, section).iter().map(name).collect::<Vec<_>>();
    assert_eq!(names("Hook"), ["› prepare_job", "› cleanup_job"]);
    let hostile = "› ·/script·· ······init···· · ·img src·x··";
    assert_eq!(names("Steps"), ["› Build it", hostile, "› An action"]);
    assert_eq!(names("Containers"), ["› job", "› step"]);
    let states: Vec<_> =
        bars(&text, "Steps").iter().filter_map(|bar| bar.split([':', ',']).nth(1)).collect();
    assert_eq!(states, ["done", "crit", "done"]);
    assert!(bars(&text, "Containers").iter().all(|bar| bar.contains(" :done, ")), "{text}");
    let row = |of: &str| text.lines().find(|line| line.starts_with(of)).expect(of);
    let cells: Vec<_> = row("| Build it |").split('|').map(str::trim).collect();
    assert!(
        cells[2] == "success" && cells[5].ends_with(" s") && cells[7].ends_with("iB"),
        "{text}"
    );
    assert!(row("| &#60;/script&#62;").contains("| failure, exit code 42 |"), "{text}");
    assert!(!text.contains("<img") && !text.contains("init\u{7d}"), "{text}");
}

/// A job completed hook that fails would fail the job.
#[tokio::test]
async fn what_cannot_be_written_is_said_and_fails_no_job() {
    let (Some(node), Some(rig)) = (node(), Rig::start().await) else { return };
    let summary = rig.path("summary");
    let output = completed(&rig, &node, &summary);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(&summary).unwrap(), "", "a job without containers");
    rig.prepared().await;
    let output = completed(&rig, &node, &rig.path("none"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("::warning::cannot write"), "{said}");
    fs::remove_file(rig.path("ephemon-bin/ephemon-hook")).unwrap();
    let output = completed(&rig, &node, &summary);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("::error::"), "{said}");
}

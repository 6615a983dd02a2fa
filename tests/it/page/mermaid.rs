//! The timelines of reports and summaries, drawn by mermaid itself, as GitHub draws them.

use std::fs;
use std::process::Command;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, Record, Volume};
use serde_json::{Value, json};

use super::hostile;
use crate::support::browser::{self, Browser};
use crate::support::parts::{self, Part};
use crate::support::programs;

/// What `.ci/run` keeps of the package.
const MERMAID: &str = "mermaid.min.js";
/// Words and marks of the language of diagrams, and of HTML.
const NAMES: [&str; 12] = [
    "title x",
    "section y: done, 1, 2",
    "%%{init: {\"theme\": \"dark\"}}%%",
    "%% no comment",
    "a %% no comment",
    "click x href \"javascript:window.pwned=1\"",
    "2026-11-29 :crit, 1, 2",
    "#quot;#60;b#62;",
    "```",
    "<img src=x onerror=\"window.pwned=1\">",
    "dateFormat YYYY",
    "עברית @{ shape: x } ; end",
];

/// The diagrams in a text.
fn diagrams(text: &str) -> Vec<&str> {
    let blocks = text.split("```mermaid\n").skip(1);
    blocks.map(|block| block.split_once("\n```\n").unwrap().0).collect()
}

/// What the runner's job completed hook writes of a job whose steps have these names.
fn summary() -> String {
    let scratch = tempfile::tempdir().unwrap();
    let volume = Volume::new(scratch.path());
    fs::create_dir(volume.journal()).unwrap();
    let began = now_ns() - 60_000_000_000;
    let records = NAMES.iter().zip(0_u64..).map(|(name, number)| Record::HookPhase {
        at_ns: began + number * 4_000_000_000,
        phase: Phase::RunScriptStep,
        duration_ns: 4_000_000_000,
        success: number % 5 != 4,
        container: None,
        name: Some("__run".to_owned()),
        display_name: Some((*name).to_owned()),
        traceparent: None,
        exit_code: None,
    });
    let lines: Vec<u8> = records.flat_map(|record| record.to_line().unwrap()).collect();
    fs::write(volume.hook_journal(), lines).unwrap();
    let file = scratch.path().join("summary");
    fs::write(&file, "").unwrap();
    let mut hook = Command::new(programs::hook());
    hook.arg("--job-summary").env("EPHEMON_VOLUME", scratch.path());
    assert!(hook.env("GITHUB_STEP_SUMMARY", &file).status().unwrap().success());
    fs::read_to_string(file).unwrap()
}

fn report() -> String {
    let (stage, job) = hostile::stage();
    let mut command = Command::new(programs::ephemon());
    command.args(["report", job.pod.uid.as_str(), "--markdown", "-", "--agent", &stage.url("")]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn every_bar_is_drawn_by_its_name_and_nothing_else_is() {
    if !browser::is_there() || !parts::all_there(&[Part::Program(MERMAID)]) {
        return;
    }
    let mut browser = Browser::start();
    browser.open("about:blank");
    browser.look(1400, 900, "light");
    let library = fs::read_to_string(parts::program(MERMAID).unwrap()).unwrap();
    browser.value(&format!("{library}\n;null"));
    browser.value("mermaid.initialize({startOnLoad: false, securityLevel: 'strict'})");
    for text in [summary(), report()] {
        let found = diagrams(&text);
        let [diagram] = found[..] else { panic!("{text}") };
        let bars = diagram.lines().filter(|line| line.starts_with("  › "));
        let mut names: Vec<_> =
            bars.map(|line| line.split(" :").next().unwrap().trim().to_owned()).collect();
        let drawn = browser.value(&format!(
            "(async () => {{ const {{svg}} = await mermaid.render('it', {}); \
             document.body.innerHTML = svg; \
             const all = (what) => [...document.querySelectorAll(what)]; \
             return {{bars: all('rect.task').length, failed: all('rect.crit0, rect.crit1, rect.crit2').length, \
             names: all('text[class*=taskText]').map((it) => it.textContent.trim()), \
             others: all('a, img, script, foreignObject, .today line').length}}; }})()",
            json!(diagram)
        ));
        let mut shown: Vec<String> = serde_json::from_value(drawn["names"].clone()).unwrap();
        names.sort();
        shown.sort();
        assert_eq!(shown, names, "{diagram}");
        let failed = diagram.matches(" :crit, ").count();
        let expected = json!([names.len(), failed, 0]);
        let counts = Value::from(vec![
            drawn["bars"].clone(),
            drawn["failed"].clone(),
            drawn["others"].clone(),
        ]);
        assert_eq!(counts, expected, "{diagram}");
    }
    assert_eq!(browser.value("typeof window.pwned"), "undefined");
    assert_eq!(browser.troubles(), [""; 0]);
}

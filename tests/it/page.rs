//! The job page in a real browser.
//!
//! With `EPHEMON_PICTURES=DIR` the scenario of the demo writes pictures of the page there.

mod hostile;
mod mermaid;
mod plugin;
mod report;
mod stage;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support::browser::{self, Browser};
use crate::support::process::{Running, said_after};
use crate::support::programs;
use hostile::{assert_nothing_runs, assert_shown};
use stage::{Stage, running_job};

#[test]
fn hostile_names_and_lines_are_text_and_nothing_of_them_runs() {
    if !browser::is_there() {
        return;
    }
    let (stage, job) = hostile::stage();
    let mut browser = Browser::start();
    browser.look(2000, 1200, "light");
    browser.open(&stage.url(""));
    browser.until("document.querySelector('tbody a')?.textContent");
    assert_shown(&mut browser, &["tbody a"]);
    browser.open(&stage.url(&format!("#/jobs/{}", job.pod.uid)));
    browser.until("document.querySelector('.log .line') && document.querySelector('.curve')");
    let steps = "section[aria-labelledby=h-steps] tbody th";
    let containers = "section[aria-labelledby=h-containers] tbody th";
    assert_shown(&mut browser, &["h1", steps, containers, ".bar .name", ".log .text"]);
    // The mark and no picture of a job's; no script but the page's.
    assert_eq!(browser.value("document.images.length"), 1);
    assert_eq!(browser.value("document.querySelectorAll('script').length"), 1);
    assert_eq!(
        browser.value("document.querySelectorAll('script:not([src^=\"/page/\"])').length"),
        0
    );
    assert_eq!(
        browser.value("[...document.links].filter((it) => it.protocol == 'javascript:').length"),
        0
    );
    assert_nothing_runs(&mut browser);
    // This test would see what the policy refuses.
    browser.until("window.violations.length > 0");
}

#[test]
fn changes_are_seen_without_loading_the_page_again() {
    if !browser::is_there() {
        return;
    }
    let stage = Stage::new();
    let mut job = running_job(1);
    stage.show(&job);
    let mut browser = Browser::start();
    browser.open(&stage.url(&format!("#/jobs/{}", job.pod.uid)));
    browser.until("document.querySelectorAll('section[aria-labelledby=h-steps] tbody tr').length");
    browser.until("document.getElementById('connection').textContent == 'live'");
    browser.value("window.same = true");
    let mut step = job.steps[0].clone();
    step.name = Arc::from("and another");
    job.steps.push(step);
    stage.show(&job);
    browser.until("document.querySelector('#content').textContent.includes('and another')");
    stage.log(&job, "a line that comes later");
    browser.until("document.querySelector('.log').textContent.includes('a line that comes later')");
    browser.until("document.querySelector('.badge.big').textContent.includes('running')");
    stage.end(&job);
    browser.until("document.querySelector('.badge.big').textContent.includes('failure')");
    assert_eq!(browser.value("window.same"), true);
    assert_eq!(browser.troubles(), [""; 0]);
}

#[test]
fn two_hundred_jobs_are_listed_and_fit_a_phone() {
    if !browser::is_there() {
        return;
    }
    let stage = Stage::new();
    for number in 0..200 {
        stage.show(&running_job(number));
    }
    let mut browser = Browser::start();
    browser.look(390, 800, "light");
    browser.open(&stage.url(""));
    let rows = "document.querySelectorAll('tbody tr').length";
    browser.until(&format!("{rows} == 200"));
    let width = "document.documentElement.scrollWidth";
    assert_eq!(browser.value(&format!("{width} <= 390")), true, "{}", browser.value(width));
    let filter = "document.getElementById('filter')";
    let by = |words: &str| {
        format!("{filter}.value = '{words}'; {filter}.dispatchEvent(new Event('input'))")
    };
    browser.value(&by("no such job"));
    browser.until(&format!("{rows} == 0"));
    let said = browser.value("document.querySelector('.empty:not([hidden])').textContent");
    assert_eq!(said, "No job matches the filter.");
    browser.value(&by("number 17"));
    // 17 and 170 to 179.
    browser.until(&format!("{rows} == 11"));
    browser.value("document.querySelector('tbody a').click()");
    browser.until("document.querySelector('.bar') && document.activeElement.localName == 'h1'");
    assert_eq!(browser.value(&format!("{width} <= 390")), true, "{}", browser.value(width));
    // Every picture has a name, every table its heads, and headings are in order.
    let unnamed = "[...document.querySelectorAll('svg')].filter((it) => !it.ariaLabel).length";
    assert_eq!(browser.value(unnamed), 0);
    let levels =
        browser.value("[...document.querySelectorAll('h1,h2,h3')].map((it) => +it.localName[1])");
    let levels: Vec<u64> = serde_json::from_value(levels).unwrap();
    assert_eq!(levels.first(), Some(&1));
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
    assert_eq!(
        browser.value("document.querySelectorAll('table:not(:has(th[scope=col]))').length"),
        0
    );
    assert_eq!(browser.troubles(), [""; 0]);
}

#[test]
fn times_are_rounded_within_their_unit_and_a_day_begins_at_zero() {
    if !browser::is_there() {
        return;
    }
    let stage = Stage::new();
    let mut browser = Browser::start();
    browser.open(&stage.url(""));
    let mut text =
        |call: &str| browser.value(&format!("import('/page/text.js').then((it) => it.{call})"));
    for (ms, said) in [
        (42, "42 ms"),
        (4_210, "4.21 s"),
        (9_996, "10.0 s"),
        (59_960, "1 min 00 s"),
        (187_400, "3 min 07 s"),
        (3_599_700, "1 h 00 min"),
    ] {
        assert_eq!(text(&format!("duration({ms})")), said);
    }
    assert_eq!(text("running(59_999)"), "59 s");
    for (seconds, said) in [("0", "0 s"), ("0.0024", "2.4 ms"), ("0.24", "0.24 s")] {
        assert_eq!(text(&format!("cpuSeconds({seconds})")), said);
    }
    let after_midnight = text("clock(new Date(2026, 0, 1, 0, 5, 7).getTime())");
    assert!(after_midnight.as_str().unwrap().starts_with("00"), "{after_midnight}");
}

/// `ephemon ui`: the page of all nodes, which asks each job's own agent.
#[test]
fn jobs_of_two_nodes_are_on_one_page_and_are_followed() {
    if !browser::is_there() {
        return;
    }
    let stages = [Stage::new(), Stage::new()];
    let jobs = [running_job(1), running_job(2)];
    for (stage, job) in stages.iter().zip(&jobs) {
        stage.show(job);
        stage.sample(job);
    }
    let mut ui = Command::new(programs::ephemon());
    ui.args(["ui", "--port", "0"]).stderr(Stdio::piped());
    for stage in &stages {
        ui.args(["--agent", &stage.url("")]);
    }
    let mut ui = Running::start(&mut ui);
    let address = said_after("the jobs of 2 nodes: ", ui.take_stderr());
    let mut browser = Browser::start();
    browser.open(&address);
    browser.until("document.querySelectorAll('tbody tr').length == 2");
    let heading = browser.value("document.querySelector('h1').textContent");
    assert_eq!(heading, "Jobs on 2 nodes");
    stages[1].show(&running_job(3));
    browser.until("document.querySelectorAll('tbody tr').length == 3");
    let second =
        "[...document.querySelectorAll('tbody a')].find((it) => it.textContent == 'number 2')";
    browser.value(&format!("{second}.click()"));
    browser.until("document.querySelector('.curve')");
    browser.until("document.getElementById('connection').textContent == 'live'");
    stages[1].log(&jobs[1], "a line of the second node");
    browser.until("document.querySelector('.log').textContent.includes('of the second node')");
    assert_eq!(browser.troubles(), [""; 0]);
}

/// As a newcomer sees it, who opens the address that the demo prints.
#[test]
fn the_demo_shows_its_job_live() {
    if !browser::is_there() {
        return;
    }
    let mut demo = Command::new(programs::ephemon());
    demo.args(["demo", "--play", "workflow", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
    let mut demo = Running::start(&mut demo);
    let address = said_after("a page of its jobs: ", demo.take_stderr());
    let mut browser = Browser::start();
    browser.look(1200, 1500, "light");
    browser.open(&address);
    // The job takes seconds and is then played again: a browser that opened it at its end opens the next.
    browser.until(
        "(() => {
            const text = (of, all) => all.find((it) => it.textContent.includes(of));
            const badge = document.querySelector('.badge.big');
            if (badge && !badge.textContent.includes('running')) location.hash = '#/';
            if (badge) return document.querySelectorAll('.bar.step').length >= 3
                && badge.textContent.includes('running');
            const rows = [...document.querySelectorAll('tbody tr')];
            const running = rows.filter((row) => row.textContent.includes('running'));
            text('Build and test', running)?.querySelector('a').click();
            return false;
        })()",
    );
    browser.until("document.querySelectorAll('.curve').length >= 2");
    browser.until("document.querySelectorAll('.log .line').length >= 10");
    browser.until("document.querySelector('.links').textContent.includes('Run on')");
    let text = browser.value("document.querySelector('.log').textContent");
    assert!(!text.as_str().unwrap().contains("hunter2-of-the-demo"), "{text}");
    if let Some(folder) = env::var_os("EPHEMON_PICTURES").map(PathBuf::from) {
        pictures(&mut browser, &address, &folder);
    }
    assert_eq!(browser.troubles(), [""; 0]);
    demo.terminate(Duration::from_mins(1));
}

/// The page in light and dark, wide and narrow, while the job runs and at its end.
fn pictures(browser: &mut Browser, address: &str, folder: &std::path::Path) {
    let take = |browser: &mut Browser, name: &str, width, height, scheme| {
        browser.look(width, height, scheme);
        std::thread::sleep(Duration::from_millis(400));
        browser.picture(&folder.join(format!("{name}.png")));
    };
    take(browser, "running", 1200, 1500, "light");
    browser.until("document.querySelectorAll('.bar.phase').length >= 2");
    let full = browser.value("document.documentElement.scrollHeight").as_u64().unwrap();
    let full = u32::try_from(full).unwrap();
    take(browser, "page", 1100, 1440, "light");
    take(browser, "light", 1200, full, "light");
    take(browser, "dark", 1200, full, "dark");
    browser.look(390, 844, "light");
    std::thread::sleep(Duration::from_millis(400));
    let full = browser.value("document.documentElement.scrollHeight").as_u64().unwrap();
    take(browser, "phone", 390, u32::try_from(full).unwrap(), "light");
    browser.open(&format!("{address}#/"));
    browser.until("document.querySelector('tbody a')");
    take(browser, "jobs", 1200, 500, "light");
    take(browser, "jobs-phone", 390, 844, "dark");
}

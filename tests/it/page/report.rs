//! `ephemon report` of made-up jobs: the file in a real browser, and what it must not do.
//!
//! With `EPHEMON_PICTURES=DIR` pictures of the file are written there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::hostile::{self, assert_nothing_runs, assert_shown};
use super::stage::{Stage, running_job};
use crate::support::browser::{self, Browser};
use crate::support::programs;

fn report(stage: &Stage, job: &str, more: &[&str]) -> Output {
    let mut command = Command::new(programs::ephemon());
    command.args(["report", job, "--agent", &stage.url("")]).args(more).output().unwrap()
}

fn written(stage: &Stage, job: &str, file: &Path) {
    let output = report(stage, job, &["--html", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_file_shows_a_hostile_job_and_needs_nothing_else() {
    if !browser::is_there() {
        return;
    }
    let (stage, job) = hostile::stage();
    stage.end(&job);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("report.html");
    written(&stage, job.pod.uid.as_str(), &file);
    // What it shows does not come from the agent.
    drop(stage);
    let mut browser = Browser::start();
    browser.look(1200, 900, "light");
    browser.open(&format!("file://{}", file.display()));
    browser.until("document.querySelector('footer')");
    assert_shown(&mut browser, &["h1", "tbody th", ".log span", ".legend li"]);
    for (nothing, expression) in [
        ("script or picture", "document.querySelectorAll('script, img, link, iframe').length"),
        ("loaded", "performance.getEntriesByType('resource').length"),
        (
            "link but to the web",
            "[...document.links].filter((it) => !/^https?:$/.test(it.protocol)).length",
        ),
    ] {
        assert_eq!(browser.value(expression), 0, "{nothing}");
    }
    for there in [".curve", ".limit", ".throttled", ".kill", ".bar"] {
        let count = format!("document.querySelectorAll('{there}').length > 0");
        assert_eq!(browser.value(&count), true, "{there}");
    }
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let light = browser.value(ground);
    let scheme = |browser: &mut Browser, name: &str, width, scheme| {
        browser.look(width, 900, scheme);
        let full = browser.value("document.documentElement.scrollHeight").as_u64().unwrap();
        browser.look(width, u32::try_from(full).unwrap(), scheme);
        if let Some(folder) = env::var_os("EPHEMON_PICTURES").map(PathBuf::from) {
            browser.picture(&folder.join(format!("report-{name}.png")));
        }
    };
    scheme(&mut browser, "light", 1200, "light");
    scheme(&mut browser, "dark", 1200, "dark");
    assert_ne!(browser.value(ground), light, "dark is dark");
    scheme(&mut browser, "phone", 390, "light");
    assert_eq!(browser.value("document.documentElement.scrollWidth <= 390"), true);
    assert_nothing_runs(&mut browser);
}

#[test]
fn a_job_is_found_by_its_id_and_the_markdown_is_text() {
    let (stage, job) = hostile::stage();
    for job in [&running_job(1), &running_job(2)] {
        stage.show(job);
    }
    let id = job.pod.uid.as_str();
    let output = report(&stage, id, &["--markdown", "-"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("\n```mermaid\ngantt\n"), "{text}");
    let outside: Vec<&str> = text.split("text\n").next().unwrap().lines().collect();
    let is_markup = |line: &&&str| line.contains("<img") || line.contains("<svg");
    assert_eq!(outside.iter().find(is_markup), None);
    assert!(!text.contains('\u{202e}') && !text.contains('\u{7}'), "{text}");

    // The story's jobs have one pod's name.
    let pod = format!("{}/{}", job.pod.namespace, job.pod.name);
    let several = report(&stage, &pod, &["--markdown", "-"]);
    let said = String::from_utf8_lossy(&several.stderr);
    assert!(said.contains("jobs are called") && said.contains(&pod), "{said}");
    let nobody = report(&stage, "nobody", &["--markdown", "-"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(said.contains("no job nobody is shown"), "{said}");
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = scratch.path().join("no/report.html");
    let output = report(&stage, id, &["--html", nowhere.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write") && said.contains("no/report.html"), "{said}");
}

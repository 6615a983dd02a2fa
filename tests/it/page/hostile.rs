//! A job whose texts are all hostile, and what a browser must make of them.

use std::sync::Arc;

use ephemon_jobs::Job;

use super::stage::{Stage, running_job};
use crate::support::browser::Browser;

/// What a hostile author calls everything: markup, a handler, a mark that turns the text around, a
/// bell, and a character without a width.
const HOSTILE: &str = "</script><img src=x onerror=\"window.pwned=1\"><svg onload=window.pwned=1>\u{202e}evil\u{7}\u{200b}";
/// The same as it is seen.
const SHOWN: &str = "</script><img src=x onerror=\"window.pwned=1\"><svg onload=window.pwned=1>‹U+202E›evil␇‹U+200B›";

/// A server that has such a job with samples and a line.
pub(super) fn stage() -> (Stage, Job) {
    let stage = Stage::new();
    let job = hostile_job();
    stage.show(&job);
    stage.sample(&job);
    stage.log(&job, HOSTILE);
    (stage, job)
}

/// The text is seen in elements of each of these selectors.
pub(super) fn assert_shown(browser: &mut Browser, selectors: &[&str]) {
    for selector in selectors {
        let texts = format!(
            "[...document.querySelectorAll('{selector}')].map((it) => it.textContent).join('\\n')"
        );
        let texts = browser.value(&texts);
        assert!(texts.as_str().unwrap().contains(SHOWN), "{selector}: {texts}");
    }
}

/// Nothing of the text has run, and nothing would: the policy refuses a script that is put in.
pub(super) fn assert_nothing_runs(browser: &mut Browser) {
    assert_eq!(browser.value("typeof window.pwned"), "undefined");
    assert_eq!(browser.troubles(), [""; 0]);
    browser.value(
        "(() => { const script = document.createElement('script'); \
         try { script.text = 'window.pwned = 1'; document.head.append(script); } catch {} })()",
    );
    assert_eq!(browser.value("typeof window.pwned"), "undefined");
}

/// One whose texts are all hostile.
fn hostile_job() -> Job {
    let mut job = running_job(666);
    let hostile = || Some(Arc::from(HOSTILE));
    let identity = &mut job.identity;
    identity.display_name = hostile();
    identity.repository = hostile();
    identity.workflow = hostile();
    identity.git_ref = hostile();
    identity.sha = hostile();
    identity.event = hostile();
    identity.runner = hostile();
    for step in &mut job.steps {
        (step.name, step.display_name) = (HOSTILE.into(), hostile());
        step.container = hostile();
    }
    for container in &mut job.containers {
        (container.name, container.image) = (HOSTILE.into(), hostile());
    }
    job
}

//! Jobs for a shell's completion of a command line.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ephemon_base::visible::one_line;
use ephemon_client::{Fleet, Listed, Source};
use tokio::runtime;

use crate::text::result;

/// Longest wait: somebody sits at a prompt.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most characters of what is said of a job.
const MOST_CHARS: usize = 60;

/// The pods of all jobs with what each is. `None` if the time is over: what is slow is left behind on its
/// thread, and with it the user's credential plugin, a process that the caller ends.
pub fn candidates(source: &Source) -> Option<Vec<(String, String)>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let source = source.clone();
    // A limit within a runtime would not bound the user's credential plugin, for which kube blocks
    // (kube-client, `client/auth/mod.rs`, `auth_exec`).
    let asking = move || sender.send(listed(&source)).ok();
    thread::Builder::new().name("completion".to_owned()).spawn(asking).ok()?;
    let jobs = receiver.recv_timeout(TIMEOUT).ok()?;
    Some(jobs.iter().flatten().filter_map(candidate).collect())
}

fn listed(source: &Source) -> Option<Vec<Listed>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let jobs = runtime.block_on(async {
        let fleet = Fleet::connect(source).await.ok()?;
        Some(fleet.jobs().await.jobs)
    });
    // Does not wait for a DNS lookup that is still running.
    runtime.shutdown_background();
    jobs
}

/// A shell takes what it is given for a word: a pod's name has no mark that it would read.
fn candidate(job: &Listed) -> Option<(String, String)> {
    let of = &job.summary;
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.');
    let is_name = !of.pod.is_empty() && !of.pod.starts_with('-') && of.pod.bytes().all(is_plain);
    let text = format!("{}, {}", of.name, result(&of.ending));
    is_name.then(|| (of.pod.clone(), one_line(&text, MOST_CHARS)))
}

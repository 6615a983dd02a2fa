//! Jobs for a shell's completion of a command line.

use std::time::Duration;

use ephemon_base::visible::one_line;
use ephemon_client::{Fleet, Listed, Source};
use tokio::time::timeout;

use crate::text::result;

/// Longest wait: somebody sits at a prompt.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most characters of what is said of a job.
const MOST_CHARS: usize = 60;

/// The pods of all jobs with what each is; nothing where no agent answers in time.
pub async fn candidates(source: &Source) -> Vec<(String, String)> {
    let listed = async {
        let fleet = Fleet::connect(source).await.ok()?;
        Some(fleet.jobs().await.jobs)
    };
    let jobs = timeout(TIMEOUT, listed).await.ok().flatten().unwrap_or_default();
    jobs.iter().filter_map(candidate).collect()
}

/// A shell takes what it is given for a word: a pod's name has no mark that it would read.
fn candidate(job: &Listed) -> Option<(String, String)> {
    let of = &job.summary;
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.');
    let is_name = !of.pod.is_empty() && !of.pod.starts_with('-') && of.pod.bytes().all(is_plain);
    let text = format!("{}, {}", of.name, result(&of.ending));
    is_name.then(|| (of.pod.clone(), one_line(&text, MOST_CHARS)))
}

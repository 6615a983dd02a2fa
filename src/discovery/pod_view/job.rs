//! The identity of the job in an ephemeral container's environment.

use std::sync::Arc;

use ephemon_contract::env;
use ephemon_model::JobEnv;
use k8s_openapi::api::core::v1::EphemeralContainer;

/// Longest text of a job's identity: the run id and the repository are far shorter, but a branch's
/// name may be long.
const JOB_TEXT: usize = 256;

/// The job that the container's environment identifies. Only variables in the list are read,
/// because others may contain secrets.
pub(super) fn job(container: &EphemeralContainer) -> Option<Arc<JobEnv>> {
    let mut job = JobEnv::default();
    for variable in container.env.iter().flatten() {
        let Some(value) = variable.value.as_deref().and_then(job_text) else { continue };
        let place = match variable.name.as_str() {
            env::JOB_REPOSITORY => &mut job.repository,
            env::JOB_RUN_ID => &mut job.run_id,
            env::JOB_RUN_ATTEMPT => &mut job.run_attempt,
            env::JOB_NAME => &mut job.name,
            env::JOB_WORKFLOW => &mut job.workflow,
            env::JOB_WORKFLOW_REF => &mut job.workflow_ref,
            env::JOB_SHA => &mut job.sha,
            env::JOB_REF => &mut job.git_ref,
            env::JOB_EVENT => &mut job.event,
            env::JOB_RUNNER => &mut job.runner,
            env::ROLE => &mut job.role,
            env::TRACEPARENT => &mut job.traceparent,
            env::JOB_SERVER_URL => {
                job.server_url = server_url(&value);
                continue;
            }
            _ => continue,
        };
        *place = Some(value);
    }
    (job != JobEnv::default()).then(|| Arc::new(job))
}

/// A server's URL: `https://HOST[:PORT][/PATH]` without a trailing slash. `None` for another
/// scheme, credentials, a query, or no host, because links are built from it.
pub fn server_url(value: &str) -> Option<Arc<str>> {
    let (scheme, rest) = value.split_once("://")?;
    let host = rest.split('/').next()?;
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"?#@\\\"<>".contains(letter);
    let is_url =
        matches!(scheme, "https" | "http") && !host.is_empty() && rest.chars().all(is_plain);
    is_url.then(|| value.trim_end_matches('/').into())
}

/// Truncated for use as a label or attribute, without control characters.
pub fn job_text(value: &str) -> Option<Arc<str>> {
    let value: String =
        value.chars().filter(|letter| !letter.is_control()).take(JOB_TEXT).collect();
    (!value.is_empty()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_where_links_can_lead() {
        for (said, url) in [
            ("https://github.com", Some("https://github.com")),
            ("https://ghe.example.org:8443/", Some("https://ghe.example.org:8443")),
            ("http://ghe/github", Some("http://ghe/github")),
            ("javascript://x", None),
            ("https://", None),
            ("https:///x", None),
            ("https://user:password@ghe.example.org", None),
            ("https://ghe.example.org/?next=", None),
            ("https://ghe example.org", None),
            ("ghe.example.org", None),
        ] {
            assert_eq!(server_url(said).as_deref(), url, "{said}");
        }
    }
}

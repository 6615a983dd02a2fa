//! The identity of the job in an ephemeral container's environment.

use std::sync::Arc;

use ephemon_ci_systems::text;
use ephemon_contract::env;
use ephemon_model::JobEnv;
use k8s_openapi::api::core::v1::EphemeralContainer;

/// The job that the container's environment identifies. Only variables in the list are read,
/// because others may contain secrets.
pub(super) fn job(container: &EphemeralContainer) -> Option<Arc<JobEnv>> {
    let mut job = JobEnv::default();
    for variable in container.env.iter().flatten() {
        let Some(value) = variable.value.as_deref().and_then(text::short) else { continue };
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

/// A server's URL: `https://HOST[:PORT][/PATH]`, because links are built from it.
pub fn server_url(value: &str) -> Option<Arc<str>> {
    text::url(value).filter(|url| !url.contains('#'))
}

/// Truncated for use as a label or attribute, without control characters.
pub fn job_text(value: &str) -> Option<Arc<str>> {
    text::short(value)
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
            ("https://ghe.example.org/#x", None),
            ("https://ghe example.org", None),
            ("ghe.example.org", None),
        ] {
            assert_eq!(server_url(said).as_deref(), url, "{said}");
        }
    }
}

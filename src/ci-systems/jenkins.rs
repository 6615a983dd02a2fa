//! Jenkins with the Kubernetes plugin: a pod is an agent, which a `podTemplate` or `agent { kubernetes }`
//! of one build has asked for.
//!
//! Source: jenkinsci/kubernetes-plugin,
//! `src/main/java/org/csanchez/jenkins/plugins/kubernetes/PodTemplate.java` (`jenkins/label`),
//! `…/PodTemplateBuilder.java` (`kubernetes.jenkins.io/controller`, the container `jnlp`),
//! `…/pipeline/PodTemplateStepExecution.java` (`buildUrl` and `runUrl`, the latter relative to the
//! controller: `job/FOLDER/job/NAME/NUMBER/`).
//!
//! Stages and steps are the controller's and not in the pod. It runs commands by exec in containers that
//! it stops at the end: their exit codes say nothing of the build. An agent without `runUrl` belongs to
//! no build and is not reported as a job of Jenkins. No repository is known.

use super::part::Part;
use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::{short, url};

pub(super) const LABEL: &str = "jenkins/label";

const RUN_URL: &str = "runUrl";
const BUILD_URL: &str = "buildUrl";
const CONTROLLER: &str = "kubernetes.jenkins.io/controller";
/// The agent's own container.
const JNLP: &str = "jnlp";

pub(super) fn job(pod: PodFacts<'_>) -> Option<Said> {
    pod.label(LABEL)?;
    let path = pod.annotation(RUN_URL)?;
    let (names, number) = build(path)?;
    let build_url = pod.annotation(BUILD_URL).and_then(url);
    // Two controllers may have a job of the same name.
    let controller = build_url.as_deref().or_else(|| pod.label(CONTROLLER));
    let controller = controller.unwrap_or_else(|| pod.namespace());
    Some(Said {
        pipeline: short(&names),
        run: short(number),
        run_key: run_key([Some("jenkins"), Some(controller), Some(path)]),
        run_url: build_url,
        display_name: short(&format!("{names} #{number}")),
        ..Said::default()
    })
}

/// Full name and number of a build: `job/a/job/b/7/` is build 7 of `a/b`.
fn build(path: &str) -> Option<(String, &str)> {
    let (names, number) = path.trim_matches('/').rsplit_once('/')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = names.split('/');
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let name = words.next().filter(|_| word == "job")?;
        found.push(decoded(name));
    }
    (is_number && !found.is_empty()).then(|| (found.join("/"), number))
}

/// Of `%2F` and the like: a branch's name stands so in its job's.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = code.map_or(after, |_| after.get(2..).unwrap_or_default());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn part(container: &str) -> Part {
    match container {
        JNLP => Part::System,
        _ => Part::Job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builds_name_is_read_from_its_path() {
        for (path, expected) in [
            ("job/shop/12/", Some(("shop", "12"))),
            ("job/team/job/shop/job/feature%2Fx/3/", Some(("team/shop/feature/x", "3"))),
            ("job/a%/1", Some(("a%", "1"))),
            ("job/a%zz/1", Some(("a%zz", "1"))),
            ("shop/12/", None),
            ("job/shop/", None),
            ("job/shop/latest", None),
            ("12", None),
            ("", None),
        ] {
            let found = build(path);
            let found = found.as_ref().map(|(names, number)| (names.as_str(), *number));
            assert_eq!(found, expected, "{path}");
        }
    }
}

//! Errors of calls to the API server, with the remedy.

use std::error::Error as StdError;
use std::time::Duration;

use crate::console::quote;

/// A call that failed. No message contains a token or a body that was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the name of the runner's pod is unknown; set ACTIONS_RUNNER_POD_NAME from metadata.name in the runner's pod template"
    )]
    NoPodName,
    /// No usable kubeconfig or service account.
    #[error("no access to the API server: {why}{advice}")]
    Config { why: String, advice: &'static str },
    #[error("{}", refusal(.verb, *.code, .pod, .namespace, .message))]
    Refused { verb: &'static str, code: u16, pod: String, namespace: String, message: String },
    #[error("cannot reach the API server to {verb}: {why}")]
    Unreachable { verb: &'static str, why: String },
    #[error("cannot decode the API server's response to {verb}")]
    NotUnderstood { verb: &'static str },
    #[error("cannot encode the request to the API server")]
    NotSent,
}

// === impl Error ===

impl Error {
    pub(super) fn not_configured(error: &ephemon_kube_config::Error) -> Self {
        let advice = match error {
            ephemon_kube_config::Error::NotInCluster { .. } => {
                "; give the runner's pod a service account with the role in deploy/hook/rbac.yaml"
            }
            ephemon_kube_config::Error::Kubeconfig { .. }
            | ephemon_kube_config::Error::Missing { .. } => "; check the variable KUBECONFIG",
            // The errors themselves say what to do.
            ephemon_kube_config::Error::Proxy { .. }
            | ephemon_kube_config::Error::NoContexts { .. } => "",
        };
        Self::Config { why: chain(error), advice }
    }

    pub(super) fn no_client(error: &(dyn StdError + 'static)) -> Self {
        Self::Config { why: chain(error), advice: "" }
    }

    pub(super) fn built(_error: &kube::core::request::Error) -> Self {
        Self::NotSent
    }

    pub(super) fn unreachable(verb: &'static str, error: &(dyn StdError + 'static)) -> Self {
        Self::Unreachable { verb, why: chain(error) }
    }

    pub(super) fn timed_out(verb: &'static str, waited: Duration) -> Self {
        Self::Unreachable { verb, why: format!("no answer in {:.1} s", waited.as_secs_f64()) }
    }

    /// Whether the container's name is already used by another container: if two calls choose the
    /// same name, the later one fails (`existing ephemeral containers "…" may not be changed`).
    pub(crate) fn is_name_taken(&self) -> bool {
        let Self::Refused { code: 422, message, .. } = self else { return false };
        let is_another = message.contains("existing ephemeral containers")
            && message.contains("may not be changed");
        let is_double = message.contains("].name: Duplicate value");
        is_another || is_double
    }

    /// Whether a retry of the call may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { verb, code, .. } => {
                matches!(code, 408 | 429 | 500..=599) || (*code == 409 && *verb != "create secrets")
            }
            Self::Unreachable { .. } => true,
            Self::NoPodName | Self::Config { .. } | Self::NotUnderstood { .. } | Self::NotSent => {
                false
            }
        }
    }
}

/// The error and its remedy.
fn refusal(verb: &str, code: u16, pod: &str, namespace: &str, message: &str) -> String {
    let advice = match code {
        401 => "; the runner's service account token is not valid",
        403 if verb.ends_with("/exec") => {
            "; to run commands in containers without ephemon-init, the runner's service account needs the verbs `get` and `create` of `pods/exec` (deploy/hook/rbac-exec.yaml)"
        }
        403 if message.contains("violates PodSecurity") => {
            "; the namespace's Pod Security level is stricter than this container: set a securityContext in the hook's template, or change the namespace's level"
        }
        403 if message.contains("denied request") => {
            "; the role allows it, but a policy of the cluster denies it"
        }
        403 => "; give the runner's service account the role in deploy/hook/rbac.yaml",
        404 => {
            "; check that ACTIONS_RUNNER_POD_NAME and ACTIONS_RUNNER_KUBERNETES_NAMESPACE name the runner's own pod"
        }
        409 | 429 | 500..=599 => "; retries did not help",
        _ => "",
    };
    format!(
        "the API server refused to {verb} for pod {pod} in namespace {namespace}: HTTP {code}: {message}{advice}"
    )
}

/// An error with its causes, outermost first, without repetitions.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        texts.retain(|outer| !outer.contains(&text));
        texts.push(text);
        next = error.source();
    }
    quote(&texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, verb: &'static str) -> Error {
        let (pod, namespace) = ("r-1".to_owned(), "ns".to_owned());
        Error::Refused { verb, code, pod, namespace, message: "no".to_owned() }
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        for code in [409, 429, 500, 502, 503, 504] {
            assert!(refused(code, "patch").may_pass(), "{code}");
        }
        for code in [400, 401, 403, 404, 413, 415, 422] {
            assert!(!refused(code, "patch").may_pass(), "{code}");
        }
        assert!(!refused(409, "create secrets").may_pass());
        assert!(Error::timed_out("get", Duration::from_secs(1)).may_pass());
    }

    #[test]
    fn a_name_that_another_call_took_is_told_from_all_other_refusals() {
        let refused = |message: &str| {
            let (verb, message) = ("patch", message.to_owned());
            Error::Refused {
                verb,
                code: 422,
                pod: String::new(),
                namespace: String::new(),
                message,
            }
        };
        // As Kubernetes 1.36 reports it.
        let taken = "Pod \"r\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"step\" may not be changed @@ -2";
        assert!(refused(taken).is_name_taken());
        assert!(
            refused("spec.ephemeralContainers[0].name: Duplicate value: \"runner\"")
                .is_name_taken()
        );
        assert!(!refused("spec.ephemeralContainers[0].image: Required value").is_name_taken());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert!(refused(403, "patch").to_string().contains("role"));
        assert!(refused(404, "get pods").to_string().contains("ACTIONS_RUNNER_POD_NAME"));
        let denied = |message: &str| refusal("patch", 403, "r-1", "ns", message);
        let policy = "pods \"r-1\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        assert!(denied(policy).ends_with("a policy of the cluster denies it"));
        let level = "pods \"r-1\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
        assert!(denied(level).contains("Pod Security level"));
    }
}

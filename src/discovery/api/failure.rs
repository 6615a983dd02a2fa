//! Failures of the API server or of the way to it, and the remedy. Pure.

use std::error::Error as StdError;
use std::io;

use rustix::io::Errno;

use crate::text::clean;

/// The verb of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The resource version or the continue token is too old (410): list again.
    Gone,
    /// 401.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// The selector is not valid (400).
    BadRequest(String),
    /// Any other error response.
    Refusal(u16, String),
    /// The connection was refused.
    NotListening(String),
    /// The name cannot be resolved.
    Dns(String),
    /// The certificate or the protocol is wrong.
    Tls(String),
    /// No token is available. The output of a credential helper is never shown.
    Credentials,
    /// No response in time.
    Silence(u64),
    /// Any other error of the connection.
    Broken(String),
}

// === impl Verb ===

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

// === impl Failure ===

impl Failure {
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            kube::Error::Auth(_) => Self::Credentials,
            other => Self::of_chain(other),
        }
    }

    pub(super) fn of_status(status: &kube::core::Status) -> Self {
        let message =
            clean(if status.message.is_empty() { &status.reason } else { &status.message });
        match status.code {
            400 => Self::BadRequest(message),
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden(message),
            410 => Self::Gone,
            code => Self::Refusal(code, message),
        }
    }

    fn of_chain(error: &(dyn StdError + 'static)) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut os_error = None;
        let mut auth = false;
        let mut next = Some(error);
        while let Some(error) = next {
            auth |= error.is::<kube::client::AuthError>();
            if let Some(error) = error.downcast_ref::<io::Error>() {
                os_error = os_error.or(error.raw_os_error().map(Errno::from_raw_os_error));
            }
            let text = error.to_string();
            // Most errors repeat their source, so each text is used only once.
            texts.retain(|outer| !outer.contains(&text));
            texts.push(text);
            next = error.source();
        }
        if auth {
            return Self::Credentials;
        }
        let text = clean(&texts.join(": "));
        // Errors of other libraries can be distinguished only by their text.
        let lower = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if os_error == Some(Errno::CONNREFUSED) {
            Self::NotListening(text)
        } else if says(&["dns error", "failed to lookup address"]) {
            Self::Dns(text)
        } else if says(&["certificate", "tls", "corrupt message", "invalid contenttype"]) {
            Self::Tls(text)
        } else {
            Self::Broken(text)
        }
    }

    /// Why, without the remedy.
    pub(super) fn why(&self) -> String {
        self.cause().0
    }

    /// One sentence: what failed, where, why, and the remedy.
    pub(super) fn sentence(&self, verb: Verb, url: &str) -> String {
        let verb = verb.as_str();
        if let Self::Forbidden(message) = self {
            return format!(
                "cannot {verb} pods at {url}: 403, {message}; grant the agent's account a \
                 ClusterRole with the rule apiGroups [\"\"], resources [pods], verbs [list, \
                 watch] (here `{verb}` is missing)"
            );
        }
        let (why, advice) = self.cause();
        format!("cannot {verb} pods at {url}: {why}; {advice}")
    }

    /// Why, and the remedy.
    fn cause(&self) -> (String, &'static str) {
        match self {
            Self::Gone => ("the resource version is too old".to_owned(), "listing again"),
            Self::Unauthorized(message) => (
                format!("401, {message}"),
                "the token or client certificate is not accepted: check the kubeconfig's user, or \
                 that the pod's service account exists and its token is mounted",
            ),
            Self::Forbidden(message) => (format!("403, {message}"), "grant the right"),
            Self::BadRequest(message) => {
                (format!("400, {message}"), "check --pod-selector and --node-name")
            }
            Self::Refusal(code, message) => {
                (format!("{code}, {message}"), "check the API server's log")
            }
            Self::NotListening(text) => (
                text.clone(),
                "connection refused: check the address in the kubeconfig and that the API server \
                 runs",
            ),
            Self::Dns(text) => {
                (text.clone(), "check the name in the kubeconfig and the node's resolver")
            }
            Self::Tls(text) => (
                text.clone(),
                "check that the server uses TLS at this address, and that the kubeconfig's \
                 certificate authority signed its certificate",
            ),
            Self::Credentials => (
                "cannot get credentials".to_owned(),
                "check the credential helper or token file of the kubeconfig's user",
            ),
            Self::Silence(seconds) => (
                format!("no answer in {seconds} s"),
                "check the network between this node and the API server",
            ),
            Self::Broken(text) => (
                text.clone(),
                "check the network between this node and the API server, and any proxy",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn status(code: u16, message: &str) -> Failure {
        let mut status = Status::failure(message, "Reason");
        status.code = code;
        Failure::of(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_missing_right_names_the_rule_to_add() {
        let failure = status(403, "pods is forbidden: User \"x\" cannot watch resource");
        let sentence = failure.sentence(Verb::Watch, "https://api:6443");
        assert_eq!(
            sentence,
            "cannot watch pods at https://api:6443: 403, pods is forbidden: User \"x\" cannot \
             watch resource; grant the agent's account a ClusterRole with the rule apiGroups \
             [\"\"], resources [pods], verbs [list, watch] (here `watch` is missing)"
        );
    }

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        assert_eq!(status(410, "too old"), Failure::Gone);
        assert_eq!(status(401, "no"), Failure::Unauthorized("no".into()));
        assert_eq!(status(400, "bad"), Failure::BadRequest("bad".into()));
        assert_eq!(status(503, ""), Failure::Refusal(503, "Reason".into()));
    }

    #[test]
    fn what_a_credential_helper_printed_is_never_shown() {
        let error = kube::Error::Auth(kube::client::AuthError::AuthExec("s3cret".into()));
        let service =
            kube::Error::Service(Box::new(kube::client::AuthError::AuthExec("s3cret".into())));
        for error in [error, service] {
            let failure = Failure::of(&error);
            assert_eq!(failure, Failure::Credentials);
            assert!(!failure.sentence(Verb::List, "u").contains("s3cret"));
        }
    }
}

//! Why an image cannot be pulled, according to the kubelet's message, and the remedy. Pure.

/// Number of attempts to wait for if a later one may succeed, as in Docker mode (actions/runner,
/// `ContainerOperationProvider.cs`).
const PULL_ATTEMPTS: u32 = 3;

/// Waiting reasons of the kubelet between a failed pull and the next attempt.
///
/// Source: kubernetes v1.36, `pkg/kubelet/images/types.go`.
const FAILED: [&str; 4] =
    ["ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError"];
const BACK_OFF: &str = "ImagePullBackOff";

/// Messages of registries and runtimes (containerd 1.6 to 2, CRI-O) if access to the image is
/// denied.
const DENIED: [&str; 11] = [
    "pull access denied",
    "access to the resource is denied",
    "401 unauthorized",
    "403 forbidden",
    "unauthorized:",
    "authentication required",
    "no basic auth credentials",
    "authorization failed",
    "insufficient_scope",
    "denied: ",
    "invalid username/password",
];
/// Their messages if the image does not exist.
const NOT_FOUND: [&str; 5] =
    [": not found", "manifest unknown", "manifest_unknown", "name unknown", "code = notfound"];
/// Errors of the node's own image store, which may be temporary.
const OF_THE_NODE: [&str; 3] = ["content digest", "snapshot", "blob not found"];
const OTHER_PLATFORM: &str = "no match for platform";

/// Why an image cannot be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Denied,
    NotFound,
    Platform,
    Name,
    Never,
    /// An error that may be temporary.
    Other,
}

/// The attempts so far.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    tries: u32,
    /// Whether the last status was a failed attempt.
    failed: bool,
}

// === impl Cause ===

impl Cause {
    /// `None` if the status is not about an image.
    pub(super) fn of(reason: &str, message: &str) -> Option<Self> {
        match reason {
            "InvalidImageName" => return Some(Self::Name),
            "ErrImageNeverPull" => return Some(Self::Never),
            BACK_OFF => {}
            failed if FAILED.contains(&failed) => {}
            _ => return None,
        }
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        // Registries often report a denied image as one that does not exist.
        Some(if says(&DENIED) {
            Self::Denied
        } else if says(&[OTHER_PLATFORM]) {
            Self::Platform
        } else if says(&["invalid reference format"]) {
            Self::Name
        } else if says(&NOT_FOUND) && !says(&OF_THE_NODE) {
            Self::NotFound
        } else {
            Self::Other
        })
    }

    /// The remedy; begins with a semicolon.
    pub(super) fn advice(self, image: &str, credentials: Option<&str>) -> String {
        let registry = registry(image);
        match self {
            Self::Denied => {
                let unused = match credentials {
                    Some(of) => format!(
                        "; the workflow's credentials for {of} cannot be used, because ephemeral containers use only the pull secrets of their pod"
                    ),
                    None => String::new(),
                };
                format!(
                    "{unused}; add a pull secret for {registry} to imagePullSecrets in the runner's pod template{}",
                    of_registry(registry)
                )
            }
            Self::NotFound => format!(
                "; check its name and tag; a private image of {registry} also needs a pull secret in imagePullSecrets of the runner's pod template"
            ),
            Self::Platform => {
                "; the image has no variant for the node's platform; use another tag, or another node".to_owned()
            }
            Self::Name => "; check the image's name: [REGISTRY/]NAME[:TAG][@DIGEST]".to_owned(),
            Self::Never => {
                "; the image is not on the node, and the pull policy forbids pulling it (--pull, imagePullPolicy of the hook's template)".to_owned()
            }
            Self::Other => String::new(),
        }
    }
}

/// Remedies for well-known registries.
fn of_registry(registry: &str) -> &'static str {
    if registry == "ghcr.io" {
        " (a token with read:packages)"
    } else if registry.ends_with(".amazonaws.com") {
        " or let the node's role pull from ECR (its credential provider)"
    } else if registry.ends_with(".pkg.dev") || registry.ends_with("gcr.io") {
        " or let the node's service account read the repository"
    } else if registry.ends_with(".azurecr.io") {
        " or attach the registry to the cluster (AcrPull for the kubelet's identity)"
    } else {
        ""
    }
}

/// The registry's host in the name of an image.
///
/// Source: distribution/reference: the first part is a host if it has a dot or a colon, or is
/// `localhost`.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

// === impl Pulls ===

impl Pulls {
    /// Records a status of the kubelet; returns whether to give up.
    pub(super) fn note(&mut self, reason: &str, message: &str) -> bool {
        let Some(cause) = Cause::of(reason, message) else { return false };
        let failed = reason != BACK_OFF;
        if failed && !self.failed {
            self.tries = self.tries.saturating_add(1);
        }
        self.failed = failed;
        cause != Cause::Other || self.tries >= PULL_ATTEMPTS
    }

    /// The next attempt has begun.
    pub(super) fn again(&mut self) {
        self.failed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(message: &str) -> Cause {
        Cause::of("ErrImagePull", message).unwrap()
    }

    #[test]
    fn final_errors_are_known_by_the_words_of_runtimes_and_registries() {
        for (message, cause) in [
            // containerd 1.6
            (
                "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/redis:none\": failed to resolve reference \"docker.io/library/redis:none\": docker.io/library/redis:none: not found",
                Cause::NotFound,
            ),
            (
                "rpc error: code = Unknown desc = failed to pull and unpack image \"docker.io/a/b:1\": failed to resolve reference \"docker.io/a/b:1\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Cause::Denied,
            ),
            (
                "failed to resolve reference \"ghcr.io/a/b:1\": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
                Cause::Denied,
            ),
            // containerd 2
            (
                "failed to pull and unpack image \"ghcr.io/a/b:1\": failed to resolve reference \"ghcr.io/a/b:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aa%2Fb%3Apull&service=ghcr.io: 403 Forbidden",
                Cause::Denied,
            ),
            (
                "failed to pull and unpack image \"docker.io/a/b:1\": no match for platform in manifest: not found",
                Cause::Platform,
            ),
            // CRI-O
            ("reading manifest none in docker.io/library/redis: manifest unknown", Cause::NotFound),
            (
                "initializing source docker://r.io/a: Requesting bearer token: invalid username/password: unauthorized: authentication required",
                Cause::Denied,
            ),
            (
                "reading manifest 1 in r.io/a: requested access to the resource is denied",
                Cause::Denied,
            ),
        ] {
            assert_eq!(pull(message), cause, "{message}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_three_times() {
        for message in [
            "failed to do request: Head \"https://r.io/v2/a/manifests/1\": dial tcp: lookup r.io on 10.0.0.10:53: no such host",
            "unexpected status from HEAD request to https://r.io/v2/a/manifests/1: 429 Too Many Requests",
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://r.io: 503 Service Unavailable",
            "failed to extract layer: mkdir /var/lib/containerd/x: permission denied",
            "failed to pull and unpack image: content digest sha256:ab: not found",
            "",
        ] {
            assert_eq!(pull(message), Cause::Other, "{message}");
        }
        let mut pulls = Pulls::default();
        let mut seen = |reason: &str| pulls.note(reason, "no such host");
        assert_eq!([seen("ErrImagePull"), seen("ErrImagePull"), seen(BACK_OFF)], [false; 3]);
        assert_eq!(
            [seen("ErrImagePull"), seen(BACK_OFF), seen("ErrImagePull")],
            [false, false, true]
        );
    }

    #[test]
    fn a_final_error_is_one_whichever_reason_is_seen_first() {
        let message = "Back-off pulling image \"a\": ErrImagePull: a: not found";
        assert!(Pulls::default().note(BACK_OFF, message));
        assert!(Pulls::default().note("InvalidImageName", ""));
        assert!(Pulls::default().note("ErrImageNeverPull", ""));
        assert!(
            !Pulls::default().note("CreateContainerConfigError", "secret not found: not found")
        );
        assert_eq!(Cause::of("CreateContainerConfigError", "x: not found"), None);
    }

    #[test]
    fn the_advice_names_the_registry_and_what_it_takes() {
        let denied = |image: &str, of| Cause::Denied.advice(image, of);
        let ghcr = denied("ghcr.io/a/b", Some("ghcr.io"));
        assert!(ghcr.contains("cannot be used") && ghcr.contains("read:packages"), "{ghcr}");
        assert!(denied("a/b:1", None).contains("docker.io"));
        assert!(denied("1.dkr.ecr.eu-west-1.amazonaws.com/a", None).contains("ECR"));
        assert!(denied("europe-docker.pkg.dev/a/b/c", None).contains("service account"));
        assert!(denied("x.azurecr.io/a", None).contains("AcrPull"));
        assert_eq!(registry("localhost/a"), "localhost");
        assert_eq!(registry("redis"), "docker.io");
    }
}

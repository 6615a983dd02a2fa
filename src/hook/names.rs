//! Names of containers: DNS labels, unique in the pod, never used twice.

use std::collections::BTreeSet;

/// Prefix of the names of the hook's Secrets.
const SECRET_BEGIN: &str = "ephemon-";
/// Their suffix.
const SECRET_END: &str = "-env";
/// Length of the longest DNS label, less room for a number.
const MAX_STEM: usize = 56;

/// The names in use in a pod. An ephemeral container cannot be removed, so its name cannot be used
/// again.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

// === impl Names ===

impl Names {
    /// The names of all containers of the pod, of every kind.
    pub(super) fn new(taken: impl IntoIterator<Item = String>) -> Self {
        Self(taken.into_iter().collect())
    }

    /// Takes the first unused name of `stem`, `stem-2`, `stem-3`, ….
    pub(super) fn take(&mut self, stem: &str) -> String {
        let stem = label(stem);
        let numbered = (2_u64..).map(|number| format!("{stem}-{number}"));
        // There are more numbers than names in use.
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !self.0.contains(name))
            .unwrap_or(stem);
        self.0.insert(free.clone());
        free
    }
}

/// The last part of an image's path without tag and digest, which people use as the service's name.
pub(super) fn of_image(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.split_once(':').map_or(last, |(name, _)| name)
}

/// Every name under which other containers may look up a service: the workflow's name, the image's,
/// those from its options, and the container's.
pub(super) fn of_service(
    key: Option<&str>,
    stem: &str,
    container: &str,
    given: &[String],
) -> Vec<String> {
    let own = key.map(str::to_owned).into_iter().chain([stem.to_ascii_lowercase()]);
    let mut known: Vec<String> = Vec::new();
    for name in own.chain(given.iter().cloned()).chain([container.to_owned()]) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known
}

/// A valid DNS label derived from `text`.
pub(super) fn label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() >= MAX_STEM {
            break;
        }
    }
    let label = label.trim_end_matches('-');
    if label.is_empty() { "container".to_owned() } else { label.to_owned() }
}

/// Whether it can be looked up: a host name according to RFC 1123.
pub(super) fn is_host_name(text: &str) -> bool {
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&part.len())
            && part.chars().all(inside)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Name of the Secret with a container's environment. It contains the pod's UID, because policies
/// must tell it from Secrets of other pods, and a pod's name can be a prefix of another's. It
/// contains the call's id, because concurrent calls may plan a container of the same name, and no
/// call may write another's Secret.
pub(super) fn of_secret(pod_uid: &str, container: &str, call: &str) -> String {
    format!("{}{call}{SECRET_END}", secret_stem(pod_uid, container))
}

/// Whether a Secret was created by the hook for this container.
pub(super) fn is_secret_of(secret: &str, pod_uid: &str, container: &str) -> bool {
    let call = secret.strip_prefix(&secret_stem(pod_uid, container));
    call.and_then(|call| call.strip_suffix(SECRET_END))
        .is_some_and(|call| !call.is_empty() && call.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn secret_stem(pod_uid: &str, container: &str) -> String {
    format!("{SECRET_BEGIN}{pod_uid}-{container}-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_service_is_called_as_its_image() {
        assert_eq!(of_image("redis"), "redis");
        assert_eq!(of_image("registry:5000/team/Postgres:16@sha256:ab"), "Postgres");
        assert_eq!(of_image("ghcr.io/a/b@sha256:ab"), "b");
        assert_eq!(label("Postgres_16.1"), "postgres-16-1");
        assert_eq!(label("---"), "container");
    }

    #[test]
    fn a_secret_is_its_containers_and_its_calls() {
        let secret = of_secret("u-1", "step", "0a1b");
        assert_eq!(secret, "ephemon-u-1-step-0a1b-env");
        assert!(is_secret_of(&secret, "u-1", "step"));
        for (pod, container) in [("u-1", "step-2"), ("u-2", "step"), ("u", "1-step-0a1b")] {
            assert!(!is_secret_of(&secret, pod, container), "{pod} {container}");
        }
        assert!(!is_secret_of("ephemon-u-1-step-2-0a1b-env", "u-1", "step"));
    }

    #[test]
    fn a_name_is_never_given_twice() {
        let mut names = Names::new(["runner".to_owned(), "job".to_owned()]);
        assert_eq!(names.take("job"), "job-2");
        assert_eq!(names.take("job"), "job-3");
        assert_eq!(names.take("redis"), "redis");
    }

    proptest! {
        #[test]
        fn every_name_is_a_dns_label(texts in proptest::collection::vec(".{0,80}", 1..6)) {
            let mut names = Names::default();
            let mut given = BTreeSet::new();
            for text in texts {
                let name = names.take(&text);
                prop_assert!(name.len() <= 63);
                prop_assert!(!name.starts_with('-') && !name.ends_with('-'));
                prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
                prop_assert!(given.insert(name));
            }
        }
    }
}

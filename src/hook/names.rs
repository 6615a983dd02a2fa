//! Names of containers: DNS labels, unique in the pod, never used again.

use std::collections::BTreeSet;

/// How the names of the hook's Secrets begin.
const SECRET_BEGIN: &str = "ephemon-";
/// How they end.
const SECRET_END: &str = "-env";
/// Longest DNS label, less room for a number.
const MAX_STEM: usize = 56;

/// Names that are taken in a pod: an ephemeral container cannot be removed, so its name is spent.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

// === impl Names ===

impl Names {
    /// All names of the pod's containers of every kind.
    pub(super) fn new(taken: impl IntoIterator<Item = String>) -> Self {
        Self(taken.into_iter().collect())
    }

    /// The first of `stem`, `stem-2`, `stem-3`, … that is free; it is taken from now on.
    pub(super) fn take(&mut self, stem: &str) -> String {
        let stem = label(stem);
        let numbered = (2_u64..).map(|number| format!("{stem}-{number}"));
        // The numbers do not end before the names that are taken do.
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !self.0.contains(name))
            .unwrap_or(stem);
        self.0.insert(free.clone());
        free
    }
}

/// The last part of an image's path without tag and digest: what people call the service.
pub(super) fn of_image(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.split_once(':').map_or(last, |(name, _)| name)
}

/// Every name by which people may call a service: the workflow's own, the image's, those that its
/// options give, and the pod's.
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

/// A DNS label close to `text`.
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

/// Whether others can look for it: a host name of RFC 1123.
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

/// The Secret with a container's environment. By the pod's UID policies tell it from those of other
/// pods: a pod's name may be the beginning of another's. Calls at one time may each want a container
/// of the same name, of which one gets it: no call writes into another's Secret.
pub(super) fn of_secret(pod_uid: &str, container: &str, call: &str) -> String {
    format!("{}{call}{SECRET_END}", secret_stem(pod_uid, container))
}

/// Whether a Secret is one that the hook made for a container.
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

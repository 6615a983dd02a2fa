//! Names of containers: DNS labels, unique in the pod, never used again.

use std::collections::BTreeSet;

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

/// The Secret with a container's environment.
pub(super) fn of_secret(pod: &str, container: &str) -> String {
    let pod: String = pod.chars().take(150).collect();
    format!("{pod}-{container}-env")
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

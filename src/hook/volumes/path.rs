//! Paths of volumes, normalised for comparison.

use ephemon_contract::mount;

/// An absolute path without `.`, `..`, empty parts and trailing slash, as Docker normalises it;
/// `None` if it is relative or contains what a mount path cannot have (a colon, a control
/// character).
pub(super) fn absolute(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains(|c: char| c == ':' || c.is_control()) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // The parent of the root is the root.
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Whether a normalised path is another one or is below it.
pub(super) fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the hook itself uses a normalised path in the job's containers.
pub(super) fn is_reserved(target: &str) -> bool {
    let is_device = is_below(target, "/dev") && !is_below(target, super::SHARED_MEMORY);
    let own = [
        mount::EXTERNALS,
        mount::GITHUB,
        mount::EPHEMON,
        mount::WORK_READ_ONLY,
        mount::VOLUMES,
        mount::RUNNER_IMAGE,
        "/proc",
        "/sys",
    ];
    target == mount::WORK || is_device || own.into_iter().any(|root| is_below(target, root))
}

/// The relative path from the directory of a link to its target; both are normalised and absolute.
pub(super) fn relative(link: &str, target: &str) -> String {
    let from: Vec<&str> = link.split('/').collect();
    let to: Vec<&str> = target.split('/').collect();
    let directory = from.len().saturating_sub(1);
    let common = from.iter().take(directory).zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", directory.saturating_sub(common));
    let way: Vec<&str> = up.chain(to.iter().skip(common).copied()).collect();
    if way.is_empty() { ".".to_owned() } else { way.join("/") }
}

/// Normalises a path of the pod's spec or of the operator's template. The API server accepts any
/// absolute path.
pub(crate) fn clean(path: &str) -> String {
    absolute(path).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_before_they_are_compared() {
        for (path, clean) in [
            ("/data", Some("/data")),
            ("/data/", Some("/data")),
            ("//data/./x//y/", Some("/data/x/y")),
            ("/a/../github/home", Some("/github/home")),
            ("/../../etc", Some("/etc")),
            ("/", Some("/")),
            ("data", None),
            ("./data", None),
            ("", None),
            ("/a:b", None),
            ("/a\nb", None),
        ] {
            assert_eq!(absolute(path).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn a_name_that_begins_alike_is_not_below() {
        assert!(is_below("/__w/r", "/__w") && is_below("/__w", "/__w"));
        assert!(!is_below("/__work", "/__w"));
        assert!(is_reserved("/dev/null") && is_reserved("/__w") && is_reserved("/github/home"));
        assert!(!is_reserved("/dev/shm") && !is_reserved("/__w/r/r") && !is_reserved("/devel"));
    }

    #[test]
    fn links_in_a_volume_lead_there_from_anywhere() {
        assert_eq!(relative("/__w/r/r/b", "/__w/r/r/a"), "a");
        assert_eq!(relative("/__w/r/r/b/c", "/__w/x"), "../../../x");
        assert_eq!(relative("/__w/r/b", "/__w/r"), ".");
        assert_eq!(relative("/__w/r/r/b", "/__w/r"), "..");
    }
}

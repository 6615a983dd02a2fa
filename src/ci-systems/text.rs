//! Texts of a pod that go into labels and attributes: bounded, without control characters. Pure.

use std::sync::Arc;

/// Longest text of a job's identity, in characters: a run's id and a repository are far shorter, but a
/// branch's name may be long.
pub const MAX_TEXT: usize = 256;

/// Cut for use as a label or attribute, without control characters; `None` of nothing.
pub fn short(value: &str) -> Option<Arc<str>> {
    let shown = value.chars().filter(|letter| !letter.is_control());
    let value: String = shown.take(MAX_TEXT).collect();
    (!value.is_empty()).then(|| value.into())
}

/// A URL that links can lead to: `https://HOST[:PORT][/PATH][#FRAGMENT]` without a trailing slash. `None`
/// for another scheme, credentials, a query, no host, or more than [`MAX_TEXT`] letters.
pub fn url(value: &str) -> Option<Arc<str>> {
    let (scheme, rest) = value.split_once("://")?;
    let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let host = place.split('/').next()?;
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"?#@\\\"<>".contains(letter);
    let is_url = matches!(scheme, "https" | "http")
        && !host.is_empty()
        && place.chars().chain(fragment.chars()).all(is_plain)
        && value.len() <= MAX_TEXT;
    is_url.then(|| value.trim_end_matches('/').into())
}

/// Host and path of a Git remote, without credentials, port and `.git`: of `https://HOST/PATH`,
/// `ssh://USER@HOST/PATH`, `git://HOST/PATH` and `USER@HOST:PATH`. `None` of a local path.
pub fn remote(value: &str) -> Option<(&str, &str)> {
    let (place, path) = match value.split_once("://") {
        Some((scheme, rest)) => {
            let is_git = matches!(scheme, "https" | "http" | "ssh" | "git" | "git+ssh");
            rest.split_once('/').filter(|_| is_git)?
        }
        None => value.split_once(':').filter(|(place, _)| !place.contains('/'))?,
    };
    let host = place.rsplit('@').next()?.split(':').next()?;
    let path = path.split(['?', '#']).next()?.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"@\\\"<>:".contains(letter);
    let all_plain = host.chars().chain(path.chars()).all(is_plain);
    (all_plain && !host.is_empty() && !path.is_empty()).then_some((host, path))
}

/// The value of `vcs.provider.name` for a host that is a well-known one.
pub fn provider(host: &str) -> Option<&'static str> {
    match host {
        "github.com" => Some("github"),
        "gitlab.com" => Some("gitlab"),
        "bitbucket.org" => Some("bitbucket"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_where_links_can_lead() {
        for (said, shown) in [
            ("https://gitlab.com/a/b/-/jobs/7", Some("https://gitlab.com/a/b/-/jobs/7")),
            (
                "https://buildkite.com/o/p/builds/7#019",
                Some("https://buildkite.com/o/p/builds/7#019"),
            ),
            ("http://jenkins:8080/job/a/7/", Some("http://jenkins:8080/job/a/7")),
            ("javascript://x", None),
            ("https://", None),
            ("https://user:password@host/x", None),
            ("https://host/x?token=1", None),
            ("https://ho st", None),
            ("host/x", None),
        ] {
            assert_eq!(url(said).as_deref(), shown, "{said}");
        }
        assert_eq!(url(&format!("https://host/{}", "x".repeat(MAX_TEXT))), None);
    }

    #[test]
    fn a_remote_is_a_host_and_a_path_and_no_credentials() {
        for (said, shown) in [
            ("git@github.com:o/r.git", Some(("github.com", "o/r"))),
            ("https://github.com/o/r", Some(("github.com", "o/r"))),
            ("https://x-token:secret@gitlab.com/g/s/r.git", Some(("gitlab.com", "g/s/r"))),
            ("ssh://git@host:2222/o/r.git", Some(("host", "o/r"))),
            ("/srv/git/r.git", None),
            ("file:///srv/r.git", None),
            ("https://host", None),
            ("", None),
        ] {
            assert_eq!(remote(said), shown, "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            drop((short(&text), url(&text), remote(&text)));
            prop_assert!(short(&text).is_none_or(|text| text.chars().count() <= MAX_TEXT));
        }

        #[test]
        fn credentials_of_a_remote_are_never_shown(secret in "[a-z]{6,12}") {
            let said = format!("https://user:{secret}@host.example/o/r.git");
            let (host, path) = remote(&said).unwrap();
            prop_assert!(!host.contains(&secret) && !path.contains(&secret));
        }
    }
}

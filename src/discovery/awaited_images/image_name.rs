//! The name of an image as the kubelet asks the runtime for it. Pure.

/// Longest name in bytes: 255 of the repository, 128 of the tag, and a SHA-512 digest.
///
/// Source: github.com/distribution/reference v0.6, `reference.go` and `regexp.go`.
pub(super) const MAX_BYTES: usize = 255 + 1 + 128 + 1 + 7 + 128;

/// The name with a tag, or `None` if it is none of an image. What passes here can be no name all the
/// same: the runtime has the whole grammar.
///
/// Source: kubernetes v1.36, `pkg/kubelet/images/image_manager.go`, `applyDefaultImageTag`.
pub(super) fn with_tag(name: &str) -> Option<String> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+[]".contains(&byte);
    let begins =
        name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
    if !begins || !name.bytes().all(is_known) || is_id(name) {
        return None;
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    let whole = if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") };
    (whole.len() <= MAX_BYTES).then_some(whole)
}

/// Whether a runtime may take it for the id of an image that it has, whoever pulled it.
fn is_id(name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_added_where_the_kubelet_adds_one() {
        let digest = format!("a/b@sha256:{}", "0".repeat(64));
        for (name, whole) in [
            ("redis", "redis:latest"),
            ("redis:7", "redis:7"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            (digest.as_str(), digest.as_str()),
        ] {
            assert_eq!(with_tag(name).as_deref(), Some(whole));
        }
    }

    #[test]
    fn what_is_no_name_is_left_to_the_kubelet() {
        let (id, long) = ("a".repeat(64), "a".repeat(MAX_BYTES));
        let prefixed = format!("sha256:{id}");
        for name in ["", "-a", "a b", "a\n:1", "a\u{202e}b", "a;b", "https://a?b", "$(id)", "/a"] {
            assert_eq!(with_tag(name), None, "{name:?}");
        }
        for name in [&id, &prefixed, &long] {
            assert_eq!(with_tag(name), None, "{name}");
        }
    }
}

//! Kubernetes quantities, as far as limits of CPU and memory need them. Pure.

use serde_json::Value;

use crate::api::object::text;
use crate::cgroups::Limits;

/// Suffixes of bytes.
const BYTES: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// The `limits` of a `resources` section.
pub(super) fn limits(resources: Option<&Value>) -> Limits {
    let limit = |name: &str| text(resources?, &format!("/limits/{name}"));
    Limits {
        memory_bytes: limit("memory").and_then(bytes),
        cpu_millis: limit("cpu").and_then(millis),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = BYTES
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn millis(text: &str) -> Option<u64> {
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(part.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_with_their_suffix() {
        assert_eq!(bytes("64Mi"), Some(64 << 20));
        assert_eq!(bytes("1G"), Some(1_000_000_000));
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(millis("250m"), Some(250));
        assert_eq!(millis("1.5"), Some(1500));
        assert_eq!(millis("2"), Some(2000));
        assert_eq!((bytes("-1"), millis("x"), bytes("99999999999Ti")), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in ".{0,12}") {
            bytes(&text);
            millis(&text);
        }
    }
}

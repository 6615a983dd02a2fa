//! A pod as known on the node.

use std::fmt;
use std::sync::Arc;

/// A pod's UID in the API's format (`0e269fa4-f505-4963-9096-958063077203`).
///
/// Static pods have 32 hexadecimal digits without dashes (the hash of the kubelet's configuration),
/// so both formats are accepted. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(Arc<str>);

/// The text is not a pod UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPodUid;

/// Namespace, name and UID of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: PodUid,
}

// === impl PodUid ===

impl PodUid {
    /// Accepts a UID in the API's format: 36 characters with dashes, or 32 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidPodUid> {
        let dashes = [8, 13, 18, 23];
        let valid = match text.len() {
            36 => text.bytes().enumerate().all(|(at, byte)| {
                if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
            }),
            32 => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            _ => false,
        };
        if valid { Ok(Self(text.into())) } else { Err(InvalidPodUid) }
    }

    /// The UID's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are one text in memory: a fast test that says no of equal ones, too.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl InvalidPodUid ===

impl fmt::Display for InvalidPodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a pod UID (36 characters with dashes, or 32 hexadecimal digits)")
    }
}

impl std::error::Error for InvalidPodUid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_taken_and_nothing_else() {
        assert!(PodUid::parse("0e269fa4-f505-4963-9096-958063077203").is_ok());
        assert!(PodUid::parse("d4d3ee05e3a7ab4fd9be4e35a8e7c1f0").is_ok());
        for bad in [
            "",
            "0e269fa4_f505_4963_9096_958063077203",
            "0e269fa4-f505-4963-9096-95806307720",
            "ze269fa4-f505-4963-9096-958063077203",
            "../../../../../../../../../../etc/pas",
        ] {
            assert_eq!(PodUid::parse(bad), Err(InvalidPodUid), "{bad}");
        }
    }
}

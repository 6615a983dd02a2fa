//! A container's identity on the node.

use std::fmt;
use std::sync::Arc;

/// The runtime's id of a container: 64 lower-case hexadecimal digits. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

/// The text is not a container id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidContainerId;

/// The list of the pod's spec that contains a container; the `container_type` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerType {
    /// `spec.containers`.
    Container,
    /// `spec.initContainers` without `restartPolicy: Always`.
    Init,
    /// `spec.initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `spec.ephemeralContainers`.
    Ephemeral,
    /// The pod's sandbox ("pause"): included in the pod's accounting, never reported as a
    /// container.
    Sandbox,
    /// The pod's sandbox where all of the pod's containers run in it without cgroups of their own
    /// (gVisor, Kata Containers): reported under the name `POD`, as the whole pod.
    SharedSandbox,
    /// Made by a container engine in one of the pod's containers, with a cgroup below that
    /// container's: what it uses is part of what the outer container uses.
    Nested,
    /// The same, with a cgroup beside the pod's: what it uses is in no other container's values.
    NestedBeside,
    /// Seen on the node, but its place in the spec is not known, at least not yet.
    Unknown,
}

// === impl ContainerId ===

impl ContainerId {
    /// Number of digits of an id (containerd and CRI-O both use 32 random bytes).
    pub const LEN: usize = 64;

    /// Accepts exactly 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidContainerId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == Self::LEN && text.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidContainerId)
        }
    }

    /// Accepts `containerd://ID` or `cri-o://ID`, the format of `status.*.containerID`.
    pub fn parse_status(text: &str) -> Result<Self, InvalidContainerId> {
        text.split_once("://").map_or(Err(InvalidContainerId), |(_, id)| Self::parse(id))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as `crictl` and `docker` print them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl InvalidContainerId ===

impl fmt::Display for InvalidContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a container id (64 lower-case hexadecimal digits)")
    }
}

impl std::error::Error for InvalidContainerId {}

// === impl ContainerType ===

impl ContainerType {
    /// The value of the `container_type` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::Ephemeral => "ephemeral",
            Self::Sandbox | Self::SharedSandbox => "sandbox",
            Self::Nested => "nested",
            Self::NestedBeside => "nested_beside",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a container engine in another container made it.
    pub fn is_nested(self) -> bool {
        matches!(self, Self::Nested | Self::NestedBeside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_digits_are_an_id() {
        let id = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";
        assert_eq!(ContainerId::parse(id).unwrap().short(), "a0f57c0c702b");
        assert_eq!(
            ContainerId::parse_status(&format!("containerd://{id}")),
            ContainerId::parse(id)
        );
        assert!(ContainerId::parse(&id.to_uppercase()).is_err());
        assert!(ContainerId::parse("a0f57c0c702b").is_err());
        assert!(ContainerId::parse_status(id).is_err());
    }
}

//! Names of the cgroups that container engines make in containers. Pure.
//!
//! A group is recognised by its name alone, because nothing else of it says what it is. The names of
//! groups are chosen by jobs: none of them is trusted, each is compared with a closed grammar.
//!
//! Sources: moby v28, `daemon/oci_linux.go`, `withCgroups` (`/docker/ID`, `docker-ID.scope`);
//! containers/podman v4 and v5, `libpod/oci_conmon_linux.go` (`libpod_parent/libpod-ID`,
//! `libpod_parent/conmon` for the monitors of all, `machine.slice/libpod-ID.scope`,
//! `libpod-conmon-ID.scope`); moby/buildkit
//! v0.20, `executor/oci/spec.go`, `GenerateSpec` (`buildkit/ID`), and `identity/randomid.go` (25 letters
//! and digits);
//! opencontainers/runc v1.2, `libcontainer/cgroups/fs2/defaultpath.go`.

use std::path::Path;

/// Digits of an engine's id of a container.
const ID_LEN: usize = 64;
/// Characters of an id of `BuildKit`.
const BUILDKIT_ID_LEN: usize = 25;
/// The directory of `BuildKit`'s groups.
const BUILDKIT: &str = "buildkit";
/// The directory of podman's groups where it makes them itself. A group there with a bare id is a
/// podman pod, which holds containers.
const LIBPOD_PARENT: &str = "libpod_parent";

/// What podman calls the group of its monitors there.
const MONITORS: &str = "conmon";

/// What makes a nested container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// `BuildKit`: a step of an image's build.
    BuildKit,
    /// A container runtime below a kubelet (kind, k3s), or another engine.
    Other,
}

/// What a directory below a container's group, or beside the kubelet's tree, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NestedName<'a> {
    /// A container's group.
    Container(Engine, &'a str),
    /// A directory that may hold groups of containers.
    Directory,
    /// Neither: a unit of systemd, an engine's monitor, the engine's own processes.
    Other,
}

/// Parses the name of a directory; `parent` is the name of the one it is in.
pub fn parse<'a>(parent: &str, name: &'a str) -> NestedName<'a> {
    let scope = name.strip_suffix(".scope");
    let stem = scope.unwrap_or(name);
    if let Some(found) = container(parent, stem) {
        return found;
    }
    let is_unit = [".service", ".mount", ".socket", ".swap", ".device", ".timer"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    // A user's systemd, below which rootless engines make their groups.
    let is_users = name.starts_with("user@");
    // What moves an engine's own processes out of the way: the `dind` script and podman's monitor.
    let is_own = matches!(name, "init" | "init.scope" | MONITORS | "supervisor");
    if scope.is_some() || is_own || (is_unit && !is_users) {
        return NestedName::Other;
    }
    NestedName::Directory
}

/// The directory above a group, if an engine makes only groups of containers below it.
pub fn engines_directory(group: &Path) -> Option<&Path> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let directory = group.parent()?;
    let own = name(directory)?;
    let is_podmans_pod =
        || directory.parent().and_then(name).is_some_and(|name| name == LIBPOD_PARENT);
    let is_engines = matches!(&*own, "docker" | BUILDKIT | LIBPOD_PARENT);
    (is_engines || is_podmans_pod()).then_some(directory)
}

/// Whether a group is that of podman's monitors of all containers in its directory.
pub fn is_monitors(group: &Path) -> bool {
    let is_named = group.file_name().is_some_and(|name| name == MONITORS);
    is_named && engines_directory(group).is_some()
}

fn container<'a>(parent: &str, stem: &'a str) -> Option<NestedName<'a>> {
    let (prefix, id) =
        stem.rsplit_once('-').map_or((None, stem), |(prefix, id)| (Some(prefix), id));
    if is_hex(id) {
        let engine = match prefix {
            Some(prefix) if prefix.ends_with("conmon") => return Some(NestedName::Other),
            Some("docker") => Engine::Docker,
            Some("libpod") => Engine::Podman,
            None if parent == LIBPOD_PARENT => return Some(NestedName::Directory),
            None if parent == "docker" => Engine::Docker,
            _ => Engine::Other,
        };
        return Some(NestedName::Container(engine, id));
    }
    let is_letter = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let is_buildkits =
        parent == BUILDKIT && stem.len() == BUILDKIT_ID_LEN && stem.bytes().all(is_letter);
    is_buildkits.then_some(NestedName::Container(Engine::BuildKit, stem))
}

fn is_hex(id: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == ID_LEN && id.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

    #[test]
    fn groups_of_every_engine_are_recognised() {
        let step = "yzmwk0n8g2pl5t8v6opxjdhbl";
        for (parent, name, engine, id) in [
            ("docker", ID.to_owned(), Engine::Docker, ID),
            ("system.slice", format!("docker-{ID}.scope"), Engine::Docker, ID),
            (LIBPOD_PARENT, format!("libpod-{ID}"), Engine::Podman, ID),
            ("machine.slice", format!("libpod-{ID}.scope"), Engine::Podman, ID),
            (BUILDKIT, step.to_owned(), Engine::BuildKit, step),
            ("default", ID.to_owned(), Engine::Other, ID),
            ("x-pod1.slice", format!("cri-containerd-{ID}.scope"), Engine::Other, ID),
        ] {
            assert_eq!(parse(parent, &name), NestedName::Container(engine, id), "{parent}/{name}");
        }
    }

    #[test]
    fn everything_else_is_a_directory_or_nothing() {
        for (parent, name, expected) in [
            ("x", "docker".to_owned(), NestedName::Directory),
            ("docker", BUILDKIT.to_owned(), NestedName::Directory),
            (LIBPOD_PARENT, ID.to_owned(), NestedName::Directory),
            ("x", "user@1000.service".to_owned(), NestedName::Directory),
            ("x", "kubelet.slice".to_owned(), NestedName::Directory),
            ("x", "init".to_owned(), NestedName::Other),
            ("x", "containerd.service".to_owned(), NestedName::Other),
            ("x", "session-1.scope".to_owned(), NestedName::Other),
            (LIBPOD_PARENT, "conmon".to_owned(), NestedName::Other),
            ("machine.slice", format!("libpod-conmon-{ID}.scope"), NestedName::Other),
            ("x", format!("crio-conmon-{ID}.scope"), NestedName::Other),
        ] {
            assert_eq!(parse(parent, &name), expected, "{parent}/{name}");
        }
    }

    #[test]
    fn only_a_directory_of_an_engine_has_no_other_use() {
        for (group, directory) in [
            ("docker/x", Some("docker")),
            ("kubepods/pod1/c/docker/buildkit/x", Some("kubepods/pod1/c/docker/buildkit")),
            ("libpod_parent/pod/libpod-x", Some("libpod_parent/pod")),
            ("system.slice/docker-x.scope", None),
            ("kubepods/pod1/c/x", None),
            ("x", None),
        ] {
            assert_eq!(engines_directory(Path::new(group)), directory.map(Path::new), "{group}");
        }
        for (group, expected) in [
            ("libpod_parent/conmon", true),
            ("libpod_parent/pod/conmon", true),
            ("x/conmon", false),
            ("libpod_parent/x", false),
        ] {
            assert_eq!(is_monitors(Path::new(group)), expected, "{group}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(parent in any::<String>(), name in any::<String>()) {
            let _ = parse(&parent, &name);
        }
    }
}

//! Where a log's link may lead: into directories that the operator allows, to a file of Docker's
//! `json-file` driver, and nowhere else.
//!
//! cri-dockerd makes `N.log` a link to `DATA-ROOT/containers/ID/ID-json.log`. Beside that file lie
//! others with secrets in them, and whoever can write a link to the log directory could name any
//! file of the node: so the text of a link is taken apart, never followed by the kernel.
//!
//! Source: cri-dockerd 246bd65, `core/logs.go`, `createContainerLogSymlink`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use ephemon_model::node::NodeRoot;
use ephemon_model::{ContainerId, LogRefusal};

use super::directory::Directory;

/// What a file of the driver is called behind its container's id.
const SUFFIX: &str = "-json.log";

/// Directories of the node that links may lead into.
#[derive(Debug, Clone, Default)]
pub struct LinkDirectories(Vec<LinkDirectory>);

#[derive(Debug, Clone)]
struct LinkDirectory {
    /// As a link on the node spells it.
    named: PathBuf,
    /// The same below `--node-root`.
    here: PathBuf,
}

/// A link, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The allowed directory, as it is opened here.
    pub(super) allowed: PathBuf,
    /// The directory in it, which is called as the container's id.
    pub(super) id: String,
}

// === impl LinkDirectories ===

impl LinkDirectories {
    /// Takes absolute paths of the node.
    pub fn new(node: &NodeRoot, paths: &[PathBuf]) -> Self {
        let directory =
            |path: &PathBuf| LinkDirectory { named: path.clone(), here: node.join(path) };
        Self(paths.iter().map(directory).collect())
    }

    /// The file that a link with this text leads to, if it may be read.
    pub fn file(&self, link: &Path) -> Option<PathBuf> {
        let target = self.target(link).ok()?;
        Some(target.path().join(target.file()))
    }

    /// Takes the text of a link apart: `ALLOWED/ID/ID-json.log`.
    pub(super) fn target(&self, link: &Path) -> Result<Target, LogRefusal> {
        if link.components().any(|part| part == Component::ParentDir) {
            return Err(LogRefusal::Target);
        }
        let below = |allowed: &LinkDirectory| {
            let rest = link.strip_prefix(&allowed.named).ok()?.to_owned();
            Some((allowed.here.clone(), rest))
        };
        let (allowed, rest) = self.0.iter().find_map(below).ok_or(LogRefusal::Directory)?;
        let mut parts = rest.components();
        let (Some(Component::Normal(id)), Some(Component::Normal(file)), None) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(LogRefusal::Target);
        };
        let id =
            id.to_str().filter(|id| ContainerId::parse(id).is_ok()).ok_or(LogRefusal::Target)?;
        let target = Target { allowed, id: id.to_owned() };
        if file != OsStr::from_bytes(target.file().as_bytes()) {
            return Err(LogRefusal::Target);
        }
        Ok(target)
    }
}

// === impl Target ===

impl Target {
    /// The name of the file being written.
    pub(super) fn file(&self) -> String {
        format!("{}{SUFFIX}", self.id)
    }

    /// Where it lies, to be watched.
    pub(super) fn path(&self) -> PathBuf {
        self.allowed.join(&self.id)
    }

    /// Opens its directory, step by step.
    pub(super) fn open(&self) -> io::Result<Directory> {
        Directory::root(&self.allowed)?.enter(&self.id)
    }
}

/// Takes the number from `ID-json.log.N` and `ID-json.log.N.gz`, and whether it is compressed.
/// Docker counts up: number 1 is the newest.
///
/// Source: moby, `daemon/logger/loggerutils/logfile.go`, `rotate`.
pub(super) fn rotated(name: &str, live: &str) -> Option<(u32, bool)> {
    let rest = name.strip_prefix(live)?.strip_prefix('.')?;
    let (digits, packed) = match rest.strip_suffix(".gz") {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| digits.parse().ok()).flatten()?;
    Some((number, packed))
}

/// Whether a name in a container's directory of Docker's is of its log.
pub(super) fn is_log(name: &str) -> bool {
    let live = name.find(SUFFIX).and_then(|at| name.get(..at.saturating_add(SUFFIX.len())));
    live.is_some_and(|live| name == live || rotated(name, live).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

    fn directories() -> LinkDirectories {
        let paths = ["/var/lib/docker/containers", "/data/docker/containers/"].map(PathBuf::from);
        LinkDirectories::new(&NodeRoot::new("/host"), &paths)
    }

    #[test]
    fn a_link_of_cri_dockerd_is_taken_apart() {
        for root in ["/var/lib/docker", "/data/docker"] {
            let link = format!("{root}/containers/{ID}/{ID}-json.log");
            let target = directories().target(Path::new(&link)).unwrap();
            assert_eq!(target.path(), Path::new(&format!("/host{root}/containers/{ID}")));
            assert_eq!(target.file(), format!("{ID}-json.log"));
        }
    }

    #[test]
    fn a_link_elsewhere_is_refused() {
        let directory = "/var/lib/docker/containers";
        let other = "b".repeat(64);
        let cases = [
            (format!("/var/lib/docker/{ID}/{ID}-json.log"), LogRefusal::Directory),
            (format!("/var/lib/docker/containersX/{ID}/{ID}-json.log"), LogRefusal::Directory),
            ("/etc/shadow".to_owned(), LogRefusal::Directory),
            ("0.log".to_owned(), LogRefusal::Directory),
            (String::new(), LogRefusal::Directory),
            (format!("{directory}/{ID}/config.v2.json"), LogRefusal::Target),
            (format!("{directory}/{ID}/{other}-json.log"), LogRefusal::Target),
            (format!("{directory}/{ID}/{ID}-json.log/x"), LogRefusal::Target),
            (format!("{directory}/{ID}"), LogRefusal::Target),
            (directory.to_owned(), LogRefusal::Target),
            (format!("{directory}/../{ID}/{ID}-json.log"), LogRefusal::Target),
            (format!("{directory}/{ID}/../{ID}/{ID}-json.log"), LogRefusal::Target),
            (format!("{directory}/x/x-json.log"), LogRefusal::Target),
        ];
        for (link, why) in cases {
            assert_eq!(directories().target(Path::new(&link)), Err(why), "{link}");
        }
        let none = LinkDirectories::default();
        let link = format!("{directory}/{ID}/{ID}-json.log");
        assert_eq!(none.target(Path::new(&link)), Err(LogRefusal::Directory));
    }

    #[test]
    fn rotated_files_of_docker_have_a_number() {
        let live = format!("{ID}-json.log");
        let of = |rest: &str| rotated(&format!("{live}{rest}"), &live);
        assert_eq!(of(".1"), Some((1, false)));
        assert_eq!(of(".12.gz"), Some((12, true)));
        for other in ["", ".", ".0", ".01", ".gz", ".1.gz.tmp", ".x", "1", ".4294967296"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert!(is_log(&live) && is_log(&format!("{live}.2.gz")));
        assert!(!is_log("config.v2.json") && !is_log(&format!("{live}.tmp")));
    }
}

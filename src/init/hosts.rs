//! Names in `/etc/hosts`. All containers of the pod share the file, and the kubelet rewrites it
//! whenever one of them starts (kubernetes v1.36.2, `ensureHostsFile`), so init watches it and adds
//! its lines again. It adds single lines, not blocks, because several inits edit the same file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use ephemon_base::lock;
use ephemon_contract::HostEntry;

/// Marks lines that init added.
const MARK: &str = "# ephemon";
/// Most lines.
const MAX_LINES: usize = 256;
/// Longest hosts file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The lines to keep, and the file.
#[derive(Debug)]
pub(super) struct Hosts {
    path: PathBuf,
    lines: Mutex<BTreeSet<String>>,
}

/// Why names are not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostsError {
    /// An entry that is not valid.
    #[error("{0:?} is not a hosts entry")]
    Entry(String),
    /// Over [`MAX_LINES`].
    #[error("more than {MAX_LINES} hosts entries")]
    TooMany,
    /// The file cannot be read or written.
    #[error("cannot write {}: {source}; the container must run as root to name services", path.display())]
    File { path: PathBuf, source: io::Error },
}

// === impl Hosts ===

impl Hosts {
    /// Keeps no lines yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, lines: Mutex::default() }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the lines to keep, and writes them.
    pub(super) fn replace(&self, entries: &[HostEntry]) -> Result<(), HostsError> {
        if entries.len() > MAX_LINES {
            return Err(HostsError::TooMany);
        }
        let wanted = entries.iter().map(line).collect::<Result<BTreeSet<_>, _>>()?;
        let mut lines = lock(&self.lines);
        let before = std::mem::replace(&mut *lines, wanted);
        let gone = before.difference(&lines).cloned().collect();
        self.write(&gone, &lines)
    }

    /// Adds the lines that the kubelet removed.
    pub(super) fn reapply(&self) -> Result<(), HostsError> {
        let lines = lock(&self.lines);
        if lines.is_empty() { Ok(()) } else { self.write(&BTreeSet::new(), &lines) }
    }

    fn write(&self, gone: &BTreeSet<String>, lines: &BTreeSet<String>) -> Result<(), HostsError> {
        let file = |source| HostsError::File { path: self.path.clone(), source };
        if fs::metadata(&self.path).map_err(file)?.len() > MAX_FILE_BYTES {
            return Err(file(io::Error::other("file is over 1 MiB")));
        }
        let text = fs::read_to_string(&self.path).map_err(file)?;
        match with_lines(&text, gone, lines) {
            // Written in place, because the file is a mount and cannot be replaced by a rename.
            Some(changed) => fs::write(&self.path, changed).map_err(file),
            None => Ok(()),
        }
    }
}

fn line(entry: &HostEntry) -> Result<String, HostsError> {
    let is_name = |name: &String| {
        (1..=253).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let address = entry.address.parse::<std::net::IpAddr>();
    match address {
        Ok(address) if !entry.names.is_empty() && entry.names.iter().all(is_name) => {
            Ok(format!("{address}\t{}\t{MARK}", entry.names.join(" ")))
        }
        _ => Err(HostsError::Entry(format!("{} {}", entry.address, entry.names.join(" ")))),
    }
}

/// The text without the lines in `gone` and with those in `wanted`; `None` if it needs no change.
fn with_lines(text: &str, gone: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Option<String> {
    let mut changed = String::with_capacity(text.len());
    let mut missing = wanted.clone();
    for present in text.lines().filter(|present| !gone.contains(*present)) {
        missing.remove(present);
        changed.push_str(present);
        changed.push('\n');
    }
    for line in missing {
        changed.push_str(&line);
        changed.push('\n');
    }
    (changed != text).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, names: &[&str]) -> HostEntry {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        HostEntry { address: address.to_owned(), names }
    }

    fn hosts(text: &str) -> (tempfile::TempDir, Hosts) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("hosts");
        fs::write(&path, text).expect("a file");
        (directory, Hosts::new(path))
    }

    #[test]
    fn names_are_added_put_back_and_taken_out() {
        let (_directory, hosts) = hosts("127.0.0.1\tlocalhost\n");
        let text = || fs::read_to_string(hosts.path()).expect("the file");
        hosts.replace(&[entry("127.0.0.1", &["redis", "cache"])]).expect("written");
        assert_eq!(text(), "127.0.0.1\tlocalhost\n127.0.0.1\tredis cache\t# ephemon\n");

        fs::write(hosts.path(), "10.0.0.1\tpod").expect("the kubelet's write");
        hosts.reapply().expect("written");
        assert_eq!(text(), "10.0.0.1\tpod\n127.0.0.1\tredis cache\t# ephemon\n");

        hosts.replace(&[]).expect("written");
        assert_eq!(text(), "10.0.0.1\tpod\n");
    }

    #[test]
    fn what_is_right_is_not_written_again() {
        let wanted = BTreeSet::from(["127.0.0.1\ta\t# ephemon".to_owned()]);
        let text = with_lines("", &BTreeSet::new(), &wanted).expect("a change");
        assert_eq!(with_lines(&text, &BTreeSet::new(), &wanted), None);
    }

    #[test]
    fn the_lines_of_another_init_are_left_alone() {
        let other = "127.0.0.1\tother\t# ephemon\n";
        let (_directory, hosts) = hosts(other);
        hosts.replace(&[entry("::1", &["mine"])]).expect("written");
        let text = fs::read_to_string(hosts.path()).expect("the file");
        assert_eq!(text, format!("{other}::1\tmine\t# ephemon\n"));
    }

    #[test]
    fn entries_that_could_inject_lines_are_refused() {
        let (_directory, hosts) = hosts("");
        for bad in [
            entry("127.0.0.1", &["a\n6.6.6.6 github.com"]),
            entry("127.0.0.1 x", &["a"]),
            entry("localhost", &["a"]),
            entry("127.0.0.1", &[]),
            entry("127.0.0.1", &[""]),
            entry("127.0.0.1", &["a b"]),
        ] {
            assert!(hosts.replace(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
    }
}

//! Names in `/etc/hosts`. All containers of the pod share the file, and the kubelet writes it anew whenever
//! one of them starts (kubernetes v1.36.2, `ensureHostsFile`), so init watches it and adds its lines again.
//! It adds single lines, not blocks, because several inits edit the same file.
//!
//! Nobody holds a lock, and the kubelet empties the file before it writes. So init only appends, and takes
//! a line out by making a comment of it: who writes the whole file puts back what was read before another's
//! write, without that one's lines, or without `localhost` if the file was just empty.

use std::{
    collections::BTreeSet,
    fs,
    fs::OpenOptions,
    io,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use ephemon_base::lock;
use ephemon_contract::HostEntry;

/// Marks lines that init added.
const MARK: &str = "# ephemon";
/// Most lines.
const MAX_LINES: usize = 256;
/// Longest hosts file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Longest wait for the content of an empty file: the kubelet is between emptying and writing it, and what
/// was appended until then would be written over.
const EMPTY_FOR: Duration = Duration::from_secs(1);
/// Between two looks at an empty file.
const PAUSE: Duration = Duration::from_millis(5);

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
        self.write(&gone, &lines, EMPTY_FOR)
    }

    /// Adds the lines that the kubelet removed, when it has closed the file.
    pub(super) fn reapply(&self) -> Result<(), HostsError> {
        let lines = lock(&self.lines);
        if lines.is_empty() {
            return Ok(());
        }
        self.write(&BTreeSet::new(), &lines, Duration::ZERO)
    }

    fn write(
        &self,
        gone: &BTreeSet<String>,
        lines: &BTreeSet<String>,
        patience: Duration,
    ) -> Result<(), HostsError> {
        let file = |source| HostsError::File { path: self.path.clone(), source };
        let text = self.read(patience).map_err(file)?;
        let Changes { appended, commented } = changes(&text, gone, lines);
        if !commented.is_empty() {
            let opened = OpenOptions::new().write(true).open(&self.path).map_err(file)?;
            for at in commented {
                opened.write_all_at(b"#", at).map_err(file)?;
            }
        }
        if !appended.is_empty() {
            let mut opened = OpenOptions::new().append(true).open(&self.path).map_err(file)?;
            opened.write_all(appended.as_bytes()).map_err(file)?;
        }
        Ok(())
    }

    /// The file's text; that of an empty one when it has one, or after so long.
    fn read(&self, patience: Duration) -> io::Result<String> {
        let until = Instant::now() + patience;
        loop {
            if fs::metadata(&self.path)?.len() > MAX_FILE_BYTES {
                return Err(io::Error::other("file is over 1 MiB"));
            }
            let text = fs::read_to_string(&self.path)?;
            if !text.is_empty() || Instant::now() >= until {
                return Ok(text);
            }
            thread::sleep(PAUSE);
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

/// What is to be done with a text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// To be written at its end.
    appended: String,
    /// Where lines begin that are to be comments.
    commented: Vec<u64>,
}

/// How the text loses the lines in `gone` and gets those in `wanted`.
fn changes(text: &str, gone: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Changes {
    let mut missing: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut commented = Vec::new();
    let mut at = 0;
    for present in text.split_inclusive('\n') {
        let line = present.trim_end_matches(['\r', '\n']);
        if gone.contains(line) {
            commented.push(at);
        }
        missing.remove(line);
        at += present.len() as u64;
    }
    let mut appended = String::new();
    if !missing.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        appended.push('\n');
    }
    appended.extend(missing.into_iter().flat_map(|line| [line, "\n"]));
    Changes { appended, commented }
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
        assert_eq!(text(), "10.0.0.1\tpod\n#27.0.0.1\tredis cache\t# ephemon\n");
    }

    #[test]
    fn what_is_right_is_not_written_again() {
        let wanted = BTreeSet::from(["127.0.0.1\ta\t# ephemon".to_owned()]);
        let Changes { appended, commented } = changes("", &BTreeSet::new(), &wanted);
        assert_eq!((&*appended, commented.len()), ("127.0.0.1\ta\t# ephemon\n", 0));
        assert_eq!(changes(&appended, &BTreeSet::new(), &wanted), Changes::default());
    }

    #[test]
    fn a_file_that_the_kubelet_is_about_to_write_is_waited_for() {
        let (_directory, hosts) = hosts("127.0.0.1\tlocalhost\n");
        let mut kubelet = fs::File::create(hosts.path()).expect("emptied");
        thread::scope(|scope| {
            let replaced = scope.spawn(|| hosts.replace(&[entry("127.0.0.1", &["redis"])]));
            // Long enough for it to find the file empty, and shorter than it waits.
            thread::sleep(PAUSE * 10);
            kubelet.write_all(b"127.0.0.1\tlocalhost\n10.0.0.1\tpod\n").expect("written");
            replaced.join().expect("no panic").expect("written");
        });
        let text = fs::read_to_string(hosts.path()).expect("the file");
        assert_eq!(text, "127.0.0.1\tlocalhost\n10.0.0.1\tpod\n127.0.0.1\tredis\t# ephemon\n");
    }

    #[test]
    fn nothing_that_the_kubelet_writes_is_lost_whenever_it_writes() {
        const WRITTEN: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n";
        let (_directory, hosts) = hosts(WRITTEN);
        let mine = [entry("127.0.0.1", &["redis"])];
        hosts.replace(&mine).expect("written");
        thread::scope(|scope| {
            let kubelet = scope.spawn(|| {
                for round in 0..2000 {
                    fs::write(hosts.path(), WRITTEN).expect("the kubelet's write");
                    let text = fs::read_to_string(hosts.path()).expect("the file");
                    assert!(text.starts_with(WRITTEN), "{round}: {text:?}");
                }
            });
            while !kubelet.is_finished() {
                hosts.reapply().expect("written");
            }
        });
        hosts.reapply().expect("written");
        let text = fs::read_to_string(hosts.path()).expect("the file");
        assert_eq!(text, format!("{WRITTEN}127.0.0.1\tredis\t# ephemon\n"));
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

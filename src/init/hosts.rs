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
    io::{Read, Write},
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
/// Most lines that are made comments: another init may want one of them, and adds it again each time.
const MAX_COMMENTED: usize = 256;
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
    lines: Mutex<Lines>,
}

/// What the file is to have, and what not.
#[derive(Debug, Default)]
struct Lines {
    wanted: BTreeSet<String>,
    /// Were wanted once; who writes the whole file can bring them back.
    gone: BTreeSet<String>,
    /// How many lines were made comments, of [`MAX_COMMENTED`].
    commented: usize,
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
        // Nobody waits for the lock meanwhile.
        self.wait_for_content();
        let mut lines = lock(&self.lines);
        let before = std::mem::replace(&mut lines.wanted, wanted);
        lines.gone.extend(before);
        let Lines { wanted, gone, .. } = &mut *lines;
        gone.retain(|line| !wanted.contains(line));
        while gone.len() > MAX_LINES {
            gone.pop_first();
        }
        self.write(&mut lines)
    }

    /// Adds the lines that the kubelet removed, when it has closed the file.
    pub(super) fn reapply(&self) -> Result<(), HostsError> {
        let mut lines = lock(&self.lines);
        if lines.wanted.is_empty() && lines.gone.is_empty() {
            return Ok(());
        }
        self.write(&mut lines)
    }

    fn write(&self, lines: &mut Lines) -> Result<(), HostsError> {
        let file = |source| HostsError::File { path: self.path.clone(), source };
        let text = self.read().map_err(file)?;
        let Changes { appended, mut commented } = changes(&text, lines);
        commented.truncate(MAX_COMMENTED - lines.commented);
        lines.commented += commented.len();
        if !commented.is_empty() {
            let opened =
                OpenOptions::new().read(true).write(true).open(&self.path).map_err(file)?;
            for (at, line) in commented {
                // Not where the file has been written anew since.
                let mut present = vec![0; line.len()];
                if opened.read_exact_at(&mut present, at).is_ok() && present == line {
                    opened.write_all_at(b"#", at).map_err(file)?;
                }
            }
        }
        if !appended.is_empty() {
            let mut opened = OpenOptions::new().append(true).open(&self.path).map_err(file)?;
            opened.write_all(appended.as_bytes()).map_err(file)?;
        }
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        fs::File::open(&self.path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("file is over 1 MiB"));
        }
        Ok(text)
    }

    fn wait_for_content(&self) {
        let until = Instant::now() + EMPTY_FOR;
        let is_empty = || fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        while is_empty() && Instant::now() < until {
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
    /// Where lines begin that are to be comments, and those lines.
    commented: Vec<(u64, Vec<u8>)>,
}

/// How the text gets what is wanted and loses what is not: lines that are gone, and ends of lines that were
/// appended while the kubelet was writing, and of which it has overwritten the beginning. The end of
/// `127.0.0.1` is an address, too.
fn changes(text: &[u8], Lines { wanted, gone, .. }: &Lines) -> Changes {
    let mut missing: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut commented = Vec::new();
    let mut at = 0;
    for present in text.split_inclusive(|byte| *byte == b'\n') {
        let line = present.strip_suffix(b"\n").unwrap_or(present);
        let is_end_of = |own: &String| own.len() > line.len() && own.as_bytes().ends_with(line);
        let is_wanted = wanted.iter().any(|own| own.as_bytes() == line);
        let is_end =
            !is_wanted && line.contains(&b'\t') && wanted.iter().chain(gone).any(is_end_of);
        if is_end || gone.iter().any(|gone| gone.as_bytes() == line) {
            commented.push((at, line.to_vec()));
        }
        missing.retain(|own| own.as_bytes() != line);
        at += present.len() as u64;
    }
    let mut appended = String::new();
    if !missing.is_empty() && !text.is_empty() && !text.ends_with(b"\n") {
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
        let lines = lines(&["127.0.0.1\ta\t# ephemon"], &[]);
        let Changes { appended, commented } = changes(b"", &lines);
        assert_eq!((&*appended, commented.len()), ("127.0.0.1\ta\t# ephemon\n", 0));
        assert_eq!(changes(appended.as_bytes(), &lines), Changes::default());
    }

    fn lines(wanted: &[&str], gone: &[&str]) -> Lines {
        let set = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Lines { wanted: set(wanted), gone: set(gone), commented: 0 }
    }

    #[test]
    fn a_wanted_line_that_is_the_end_of_another_one_stays() {
        let (_directory, hosts) = hosts("10.0.0.1\tpod\n");
        let both = [entry("110.0.0.5", &["db"]), entry("10.0.0.5", &["db"])];
        hosts.replace(&both).expect("written");
        let before = fs::read_to_string(hosts.path()).expect("the file");
        assert_eq!(before.lines().filter(|line| line.starts_with('1')).count(), 3, "{before}");
        hosts.reapply().expect("written");
        assert_eq!(fs::read_to_string(hosts.path()).expect("the file"), before);
    }

    #[test]
    fn two_inits_that_disagree_come_to_an_end() {
        let (_directory, mine) = hosts("10.0.0.1\tpod\n");
        let other = Hosts::new(mine.path().to_owned());
        mine.replace(&[entry("110.0.0.5", &["db"])]).expect("written");
        other.replace(&[entry("10.0.0.5", &["db"])]).expect("written");
        let text = || fs::read_to_string(mine.path()).expect("the file");
        for _ in 0..2 * MAX_COMMENTED {
            mine.reapply().expect("written");
            other.reapply().expect("written");
        }
        let before = text();
        assert!(before.lines().count() <= MAX_COMMENTED + 3, "{before}");
        assert!(before.contains("\n110.0.0.5\t") && before.contains("\n10.0.0.5\t"), "{before}");
        mine.reapply().expect("written");
        other.reapply().expect("written");
        assert_eq!(text(), before);
    }

    #[test]
    fn the_end_of_a_line_whose_beginning_was_written_over_is_no_address() {
        let lines = lines(&["127.0.0.1\tredis\t# ephemon"], &["127.0.0.1\told\t# ephemon"]);
        let text = "10.0.0.1\tpod\n7.0.0.1\tredis\t# ephemon\n0.1\told\t# ephemon\nephemon\n\n";
        let Changes { appended, commented } = changes(text.as_bytes(), &lines);
        assert_eq!(appended, "127.0.0.1\tredis\t# ephemon\n");
        let starts: Vec<u64> = commented.into_iter().map(|(at, _)| at).collect();
        assert_eq!(starts, [13, 37]);
    }

    #[test]
    fn a_line_that_is_gone_and_comes_back_is_taken_out_again() {
        let (_directory, hosts) = hosts("10.0.0.1\tpod\n");
        hosts.replace(&[entry("127.0.0.1", &["redis"])]).expect("written");
        let before = fs::read(hosts.path()).expect("the file");
        hosts.replace(&[]).expect("written");
        fs::write(hosts.path(), [&before[..], b"\xff\n"].concat()).expect("a job's write");
        hosts.reapply().expect("written");
        let text = fs::read(hosts.path()).expect("the file");
        assert_eq!(text, b"10.0.0.1\tpod\n#27.0.0.1\tredis\t# ephemon\n\xff\n");
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
        // Who reads in the middle of a write adds a line break, or the line once more, which mean nothing.
        let added = text.strip_prefix(WRITTEN).expect("all that the kubelet has written");
        let added: Vec<_> = added.lines().filter(|line| !line.is_empty()).collect();
        assert!(!added.is_empty(), "{text:?}");
        assert!(added.iter().all(|line| *line == "127.0.0.1\tredis\t# ephemon"), "{text:?}");
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

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
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use ephemon_base::lock;
use ephemon_contract::HostEntry;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

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
    /// Without one, lines are added once and not restored.
    watch: Option<OwnedFd>,
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
    /// Keeps no lines yet, and watches the file from now on: what is written between the first request of a
    /// hook and the first look would not be noticed.
    pub(super) fn new(path: PathBuf) -> Self {
        let watch = watch(&path).ok();
        Self { path, lines: Mutex::default(), watch }
    }

    /// Ready to be read when the file was written.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// Replaces the lines to keep, and writes them.
    pub(super) fn replace(&self, entries: &[HostEntry]) -> Result<(), HostsError> {
        self.replace_within(entries, EMPTY_FOR)
    }

    /// The same with another limit for the wait.
    fn replace_within(&self, entries: &[HostEntry], empty_for: Duration) -> Result<(), HostsError> {
        if entries.len() > MAX_LINES {
            return Err(HostsError::TooMany);
        }
        let wanted = entries.iter().map(line).collect::<Result<BTreeSet<_>, _>>()?;
        // Nobody waits for the lock meanwhile.
        self.wait_for_content(empty_for);
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
        if let Some(watch) = &self.watch {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut events = inotify::Reader::new(watch, &mut buffer);
            while events.next().is_ok() {}
        }
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

    fn wait_for_content(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let is_empty = || fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        while is_empty() && Instant::now() < until {
            thread::sleep(PAUSE);
        }
    }
}

fn watch(path: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, path, WatchFlags::CLOSE_WRITE)?;
    Ok(watch)
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
mod tests;

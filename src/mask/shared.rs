//! Passes values that were registered in a container to the agent: one file per container in the
//! pod's shared volume. Init writes asterisks to the container's log, so the agent cannot read the
//! values there, and other containers of the pod have no init, or another one.
//!
//! The directory `masks/` belongs to root's group, and its files inherit the group. Only that group
//! and the container's own user can read them: the agent, which is root without `CAP_DAC_OVERRIDE`,
//! and the job.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

use ephemon_base::lock;
use ephemon_contract::plain_file;
use rustix::process::geteuid;

/// Mode of the directory: every user can create files, and only root can list them.
pub const DIRECTORY_MODE: u32 = 0o3753;
/// Mode of a file.
const FILE_MODE: u32 = 0o640;
/// Most bytes of a file. The agent keeps 256 KiB of values per pod, and a byte takes two characters
/// here.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most bytes of a line.
pub const MAX_LINE_BYTES: usize = 768 * 1024;
/// A line for a value that could not be written.
const LOST: &[u8] = b"null\n";

/// The content of a line.
#[derive(Clone, PartialEq, Eq)]
pub enum Told {
    /// A value.
    Value(Vec<u8>),
    /// A value that could not be written.
    Lost,
}

/// Writes the values of one container.
#[derive(Debug)]
pub struct SharedMasks(Mutex<State>);

#[derive(Debug)]
struct State {
    file: File,
    bytes: u64,
    /// The file already says that a value is missing, so nothing more has to be written.
    lost: bool,
}

// === impl SharedMasks ===

impl SharedMasks {
    /// Opens the file for appending. If another user created it, or other users can read it, it is
    /// not used: the values then go to a file with an unpredictable name in the same directory. The
    /// directory is created if it is missing.
    ///
    /// # Errors
    /// The directory is not writable.
    pub fn open(path: &Path) -> io::Result<Self> {
        match open_own(path) {
            Ok(file) => Self::of(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(path.parent().unwrap_or(path))?;
                Self::of(open_own(path)?)
            }
            Err(_) => Self::of(open_own(&beside(path))?),
        }
    }

    fn of(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self(Mutex::new(State { file, bytes, lost: false })))
    }

    /// The values in the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn values(&self) -> io::Result<HashSet<Vec<u8>>> {
        let state = lock(&self.0);
        let mut text = vec![0; usize::try_from(state.bytes.min(MAX_FILE_BYTES)).unwrap_or(0)];
        state.file.read_exact_at(&mut text, 0)?;
        Ok(values(&text).collect())
    }

    /// Adds a value; `None` stands for a value that cannot be written. If there is no space, the
    /// file records that instead, and the agent shows no text of the pod any more.
    pub fn tell(&self, value: Option<&[u8]>) {
        let mut state = lock(&self.0);
        if state.lost {
            return;
        }
        let line = value.map(to_line).filter(|line| {
            let length = u64::try_from(line.len() + LOST.len() + 1).unwrap_or(u64::MAX);
            line.len() <= MAX_LINE_BYTES && state.bytes.saturating_add(length) <= MAX_FILE_BYTES
        });
        let written = line.is_some_and(|line| {
            let done = state.file.write_all(&line).is_ok();
            state.bytes = state.bytes.saturating_add(line.len() as u64);
            done
        });
        if !written {
            // The last line may be incomplete. If the disk has no space even for these few bytes,
            // the incomplete line has the same effect, because it cannot be parsed.
            state.lost = true;
            drop(state.file.write_all(&[b"\n", LOST].concat()));
        }
    }
}

/// Opens a file that this user created, with only one name, and that only the agent and this user
/// can read.
fn open_own(path: &Path) -> io::Result<File> {
    let file = plain_file::open(path, OpenOptions::new().read(true).append(true), Some(FILE_MODE))?;
    let metadata = file.metadata()?;
    if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o007 != 0 {
        return Err(io::Error::other("another user owns it, or all users can read it"));
    }
    Ok(file)
}

/// An unpredictable name in the same directory that the agent reads: a DNS label before the suffix.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_start_matches('_');
    let name = name.get(..46.min(name.len())).unwrap_or_default();
    // Seeded with random numbers of the system.
    let random = RandomState::new().hash_one(std::process::id());
    path.with_file_name(format!("{name}-{random:016x}.jsonl"))
}

/// Creates the directory as `ephemon install` does, which runs as root. If another user creates it,
/// root's group cannot read its files, and the agent reports that.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        // In a second call, because the umask applies to the first.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The value in hexadecimal digits, as a JSON string.
fn to_line(value: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let digits = value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    [b'"'].into_iter().chain(digits).chain(*b"\"\n").collect()
}

/// The values in a text, without lost and invalid ones.
pub fn values(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let told = text.split(|byte| *byte == b'\n').filter_map(parse);
    told.filter_map(|told| match told {
        Told::Value(value) => Some(value),
        Told::Lost => None,
    })
}

/// Parses a line without its newline; `None` for an empty one. An invalid line counts as a lost
/// value.
pub fn parse(line: &[u8]) -> Option<Told> {
    if line.is_empty() {
        return None;
    }
    let digits = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let value = digits.filter(|digits| digits.len().is_multiple_of(2)).and_then(|digits| {
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
            u8::from_str_radix(text, 16).ok()
        };
        digits.chunks(2).map(byte).collect()
    });
    Some(value.map_or(Told::Lost, Told::Value))
}

/// Prints whether it is a value, never the value.
impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Lost { "Lost" } else { "Value" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path) -> Vec<Told> {
        let text = fs::read(path).unwrap();
        text.split(|byte| *byte == b'\n').filter_map(parse).collect()
    }

    #[test]
    fn values_come_back_byte_for_byte_and_others_may_not_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.jsonl");
        let values = [b"hunter2".to_vec(), b"a\nb\"\\".to_vec(), vec![0, 0xff, 0x80]];
        for value in &values {
            // Opened again: existing content is kept.
            SharedMasks::open(&path).unwrap().tell(Some(value));
        }
        assert_eq!(told(&path), values.map(Told::Value));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
    }

    #[test]
    fn a_value_without_room_is_said_to_be_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.jsonl");
        let masks = SharedMasks::open(&path).unwrap();
        for _ in 0..5 {
            masks.tell(Some(&vec![b'x'; 200 * 1024]));
        }
        assert!(fs::metadata(&path).unwrap().len() <= MAX_FILE_BYTES);
        assert_eq!(told(&path).last(), Some(&Told::Lost));
        let path = directory.path().join("other.jsonl");
        SharedMasks::open(&path).unwrap().tell(None);
        assert_eq!(told(&path), [Told::Lost]);
    }

    #[test]
    fn nonsense_and_links_are_no_values() {
        for line in ["x", "\"6", "\"6\"", "\"6g\"", "null", "{}", "\"+1\""] {
            assert_eq!(parse(line.as_bytes()), Some(Told::Lost), "{line}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.jsonl");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        SharedMasks::open(&path).unwrap().tell(Some(b"hunter2"));
        assert!(path.is_symlink(), "what stood there is left alone");
    }

    #[test]
    fn a_name_that_another_has_taken_holds_no_value_and_the_agent_reads_it_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("_hook.jsonl");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        SharedMasks::open(&path).unwrap().tell(Some(b"hunter2"));
        assert_eq!(fs::read(&path).unwrap(), b"");
        let others = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let [other] = &others.filter(|other| *other != path).collect::<Vec<_>>()[..] else {
            panic!("one file beside it")
        };
        assert_eq!(told(other), [Told::Value(b"hunter2".to_vec())]);
        let name = other.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("hook-") && name.len() < 63, "{name}");
    }

    #[test]
    fn what_is_in_the_file_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.jsonl");
        SharedMasks::open(&path).unwrap().tell(Some(b"hunter2"));
        assert_eq!(
            SharedMasks::open(&path).unwrap().values().unwrap(),
            HashSet::from([b"hunter2".to_vec()])
        );
    }
}

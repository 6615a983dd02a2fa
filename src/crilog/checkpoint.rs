//! How far every log is delivered, kept over a restart: one file, written whole or not at all.
//!
//! `ephemon-logs 1 SHA256\n` and JSON. A file that is not what its first line says is not used.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ephemon_discovery::logs::names::{is_label, is_pod_name};
use ephemon_model::{PodRef, PodUid};
use serde::{Deserialize, Deserializer, Serialize, Serializer as _};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::accounting::LostBytes;
use super::head::Head;
use super::place::{LogRef, Mark, Spot};

/// The file's name in its directory.
const FILE: &str = "logs.checkpoint";

/// What the first line begins with; the number is the format's version.
const MAGIC: &str = "ephemon-logs 1 ";

/// Longest file that is read: [`MAX_LOGS`] of some hundred bytes each, and half as many of those that
/// are being read.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Most finished logs that are kept.
pub const MAX_LOGS: usize = 4_096;
/// Most logs read at once: 160 pods of four containers that live. What is more waits on the disk until
/// others are over.
pub const MAX_LIVE: usize = 640;

/// How far every log is delivered. Made by [`super::Follower::checkpoints`].
#[derive(Debug, Clone, Default)]
pub struct Checkpoints {
    pub(super) logs: HashMap<LogRef, Saved>,
}

/// How far one log is delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) mark: Mark,
    pub(super) files: Vec<SavedFile>,
    #[serde(deserialize_with = "of_any_length")]
    pub(super) lost_bytes: LostBytes,
    pub(super) lost_unknown: bool,
    /// Of `lost_bytes`, those that its last end told of.
    #[serde(default, deserialize_with = "of_any_length")]
    pub(super) told_bytes: LostBytes,
    /// Holes before it are counted.
    #[serde(default)]
    pub(super) holes_to: Spot,
    /// Something of it was given up on its way.
    #[serde(default)]
    pub(super) spoilt: bool,
    /// It ended and everything was delivered.
    pub(super) finished: bool,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedFile {
    pub(super) number: u32,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) head: Option<Head>,
    pub(super) size: u64,
    /// Nobody writes to it any more: its size is final.
    pub(super) passed: bool,
    /// The rest of it was lost: no line goes on after it.
    pub(super) broken: bool,
}

/// A log and how far it is delivered, as written.
#[derive(Serialize, Deserialize)]
struct Row {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    attempt: u32,
    #[serde(flatten)]
    saved: Saved,
}

// === impl Checkpoints ===

impl Checkpoints {
    /// Nothing is delivered yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// How many logs it knows.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The pods of the logs, each once or more often.
    pub fn pods(&self) -> impl Iterator<Item = PodUid> {
        self.logs.keys().map(|log| log.pod.uid.clone())
    }

    /// Keeps some logs only.
    pub fn retain(&mut self, keep: impl Fn(&LogRef) -> bool) {
        self.logs.retain(|log, _| keep(log));
    }

    /// Reads what [`Self::save`] wrote. What makes no sense is said and taken for nothing: every
    /// log that is still there is then read from its beginning.
    pub fn load(directory: &Path) -> Self {
        let path = directory.join(FILE);
        match read(&path) {
            Ok(checkpoints) => checkpoints,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::none(),
            Err(error) => {
                warn!(
                    path = %path.display(), %error,
                    "cannot use the log checkpoints; logs are read from their beginning"
                );
                Self::none()
            }
        }
    }

    /// Writes all of it: after a crash, the file is the old one or this one.
    pub fn save(&self, directory: &Path) -> io::Result<()> {
        write(directory, self.logs.iter().map(|(log, saved)| (log, saved.clone())))
    }
}

/// What was written last: a node on which nothing happens writes nothing.
#[derive(Debug, Default)]
pub(super) struct Written(Option<String>);

impl Written {
    /// Writes how far logs are delivered, unless this is what was written last.
    pub(super) fn renew<'a, Logs>(
        &mut self,
        directory: &Path,
        logs: impl Fn() -> Logs,
    ) -> io::Result<()>
    where
        Logs: Iterator<Item = (&'a LogRef, Saved)>,
    {
        let sum = summed(io::sink(), logs())?.1;
        if self.0.as_ref() != Some(&sum) || !directory.join(FILE).exists() {
            self.0 = None;
            write(directory, logs())?;
            self.0 = Some(sum);
        }
        Ok(())
    }
}

/// Writes how far logs are delivered, one after the other: all of them as text are more than is to be
/// held at once.
fn write<'a>(directory: &Path, logs: impl Iterator<Item = (&'a LogRef, Saved)>) -> io::Result<()> {
    let beside = directory.join(format!("{FILE}.new"));
    let mut file = BufWriter::new(File::create(&beside)?);
    // The sum stands before what it is of: its place is kept.
    file.write_all(format!("{MAGIC}{:64}\n", "").as_bytes())?;
    let (file, sum) = summed(file, logs)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.write_all_at(sum.as_bytes(), MAGIC.len() as u64)?;
    file.sync_all()?;
    fs::rename(&beside, directory.join(FILE))?;
    // The new name is only safe once its directory is.
    File::open(directory)?.sync_all()
}

/// Writes the logs as JSON, and returns the sum of that.
fn summed<'a, W: Write>(
    to: W,
    logs: impl Iterator<Item = (&'a LogRef, Saved)>,
) -> io::Result<(W, String)> {
    let mut body = Summed { to, digest: Sha256::new() };
    serde_json::Serializer::new(&mut body)
        .collect_seq(logs.map(|(log, saved)| Row::new(log, saved)))?;
    Ok((body.to, hexadecimal(&body.digest.finalize())))
}

/// Sums what is written.
struct Summed<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn read(path: &Path) -> io::Result<Checkpoints> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let end = memchr::memchr(b'\n', &text).ok_or_else(|| invalid("no first line"))?;
    let (first, rest) = text.split_at_checked(end).ok_or_else(|| invalid("no first line"))?;
    let body = rest.get(1..).unwrap_or_default();
    let first = std::str::from_utf8(first).map_err(|_| invalid("the first line is no text"))?;
    let sum_there = first.strip_prefix(MAGIC).ok_or_else(|| invalid("another format"))?;
    if sum_there != hexadecimal(&Sha256::digest(body)) {
        return Err(invalid("the checksum does not fit; the file is damaged"));
    }
    let rows: Vec<Row> = serde_json::from_slice(body)?;
    let logs =
        rows.into_iter().take(MAX_LOGS.saturating_add(MAX_LIVE)).filter_map(Row::taken).collect();
    Ok(Checkpoints { logs })
}

/// Takes losses by another version, which knows fewer reasons, or more.
fn of_any_length<'de, D: Deserializer<'de>>(from: D) -> Result<LostBytes, D::Error> {
    let mut lost = LostBytes::default();
    for (to, from) in lost.iter_mut().zip(Vec::<u64>::deserialize(from)?) {
        *to = from;
    }
    Ok(lost)
}

fn hexadecimal(sum: &[u8]) -> String {
    sum.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

// === impl Row ===

impl Row {
    fn new(log: &LogRef, saved: Saved) -> Self {
        Self {
            namespace: log.pod.namespace.to_string(),
            pod: log.pod.name.to_string(),
            uid: log.pod.uid.to_string(),
            container: log.container.to_string(),
            attempt: log.attempt,
            saved,
        }
    }

    fn taken(self) -> Option<(LogRef, Saved)> {
        let fits = is_label(&self.namespace) && is_pod_name(&self.pod) && is_label(&self.container);
        let sorted = self.saved.files.is_sorted_by(|one, other| one.number < other.number);
        let uid = PodUid::parse(&self.uid).ok().filter(|_| fits && sorted)?;
        let pod = PodRef { namespace: self.namespace.into(), name: self.pod.into(), uid };
        let log = LogRef { pod, container: self.container.into(), attempt: self.attempt };
        Some((log, self.saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Checkpoints {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod = PodRef { namespace: "ci".into(), name: "runner".into(), uid };
        let log = LogRef { pod, container: "job".into(), attempt: 1 };
        let file = SavedFile {
            number: 3,
            dev: 1,
            ino: 2,
            head: Some(Head::exactly(b"x")),
            size: u64::MAX,
            passed: true,
            broken: false,
        };
        let saved = Saved {
            mark: Mark { lines: 7, bytes: 9, ..Mark::default() },
            files: vec![file],
            lost_bytes: [1, 2, 3, 4, 5, 6],
            lost_unknown: true,
            told_bytes: [0, 1, 2, 3, 4, 5],
            holes_to: Spot { file: 3, offset: 8, skip: 0 },
            spoilt: true,
            finished: false,
        };
        Checkpoints { logs: HashMap::from([(log, saved)]) }
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        use std::os::unix::fs::MetadataExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (mut written, mut all) = (Written::default(), one());
        let mut renew = |all: &Checkpoints| {
            let logs = || all.logs.iter().map(|(log, saved)| (log, saved.clone()));
            written.renew(directory.path(), logs).unwrap();
            assert_eq!(Checkpoints::load(directory.path()).logs, all.logs);
            // Another file each time: it is written beside and renamed.
            let open = File::open(&path).unwrap();
            (open.metadata().unwrap().ino(), open)
        };
        let first = renew(&all);
        assert_eq!(renew(&all).0, first.0);
        all.logs.values_mut().for_each(|saved| saved.mark.lines += 1);
        let second = renew(&all);
        assert_ne!(second.0, first.0);
        fs::remove_file(&path).unwrap();
        assert_ne!(renew(&all).0, second.0, "somebody has removed it");
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Checkpoints::load(directory.path()).is_empty());
        one().save(directory.path()).unwrap();
        assert_eq!(Checkpoints::load(directory.path()).logs, one().logs);
        Checkpoints::none().save(directory.path()).unwrap();
        assert!(Checkpoints::load(directory.path()).is_empty());
    }

    #[test]
    fn what_an_agent_saved_that_knew_fewer_reasons_is_loaded() {
        let mut row = serde_json::to_value(one().logs.values().next().unwrap()).unwrap();
        for lost in ["lost_bytes", "told_bytes"] {
            row[lost].as_array_mut().unwrap().pop();
        }
        row.as_object_mut().unwrap().remove("holes_to");
        let saved: Saved = serde_json::from_value(row).unwrap();
        assert_eq!((saved.lost_bytes, saved.told_bytes), ([1, 2, 3, 4, 5, 0], [0, 1, 2, 3, 4, 0]));
        assert_eq!(saved.holes_to, Spot::default());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        one().save(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(Checkpoints::load(directory.path()).is_empty(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(Checkpoints::load(directory.path()).is_empty(), "cut at {at}");
        }
    }
}

//! Whose log, and where in it: names, positions, and the ids of lines. Pure.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ephemon_model::LogStream;
use ephemon_model::PodRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The log of one start of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRef {
    /// The pod, as its log directory names it.
    pub pod: PodRef,
    /// The container's name.
    pub container: Arc<str>,
    /// How often the container had been started anew: the `N` of `N.log`.
    pub attempt: u32,
}

/// A log, as long as this follower lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub(super) u64);

/// A record in a log, and how many bytes of its text lie before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Spot {
    /// Which of the log's files, counted from the first that was seen.
    pub(super) file: u32,
    /// Where the record begins in it.
    pub(super) offset: u64,
    /// Bytes of its text that lie before.
    pub(super) skip: u64,
}

/// Where a stream's unfinished line begins, and which part of the line that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) spot: Spot,
    pub(super) part: u32,
}

/// Up to where a log is delivered, when the line it came with is: for both streams, though they
/// mingle in the file and each may have a line that is not whole yet.
///
/// Cumulative within a log: to acknowledge it is to acknowledge every line before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub(super) log: LogId,
    pub(super) mark: Mark,
}

/// A position without its log: what a checkpoint keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Lines, and parts of lines, handed over up to here.
    pub(super) lines: u64,
    /// Bytes of files they took.
    pub(super) bytes: u64,
    /// Whole lines among them, by stream.
    #[serde(default)]
    pub(super) stream_lines: [u64; 3],
    /// Bytes of their text, by stream.
    #[serde(default)]
    pub(super) stream_bytes: [u64; 3],
    /// The first record not looked at, or the one being handed over in parts.
    pub(super) after: Spot,
    /// Lines begun before `after`, by stream.
    pub(super) begun: [Option<Begun>; 3],
}

/// A line's id, `log.record.uid`: the same for the same line after any restart.
///
/// Made from the pod's UID, the container's name and attempt, the first line of the file (a stamp
/// of nanoseconds: no two files share it), the stream, and where in the file the line's first byte
/// lies. A rotated or compressed file keeps its first line, so it keeps its lines' ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u128);

/// Makes the ids of one log's lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uids {
    seed: [u64; 2],
}

// === impl LogRef ===

impl LogRef {
    /// Where the file that is being written stands below the pods' directory.
    ///
    /// Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/helpers.go`, `BuildContainerLogsDirectory`.
    pub fn path(&self, pods: &Path) -> PathBuf {
        let Self { pod, container, attempt } = self;
        let directory = format!("{}_{}_{}", pod.namespace, pod.name, pod.uid);
        pods.join(directory).join(&**container).join(format!("{attempt}.log"))
    }
}

/// By the pod's UID and the container, which tell logs apart: each line is looked up by its log, and
/// the pod's names would only make that longer.
impl Hash for LogRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pod.uid.hash(state);
        self.container.hash(state);
        self.attempt.hash(state);
    }
}

// === impl Position ===

impl Position {
    /// Whose position it is: of several, the last of each log is the one to acknowledge.
    pub fn log(&self) -> LogId {
        self.log
    }
}

// === impl Mark ===

impl Mark {
    /// Where to read on: the first record that still holds something undelivered.
    pub(super) fn resume(&self) -> Spot {
        let begun = self.begun.iter().flatten().map(|begun| begun.spot);
        let first = begun.fold(self.after, Spot::min);
        Spot { skip: 0, ..first }
    }
}

// === impl Uid ===

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

// === impl Uids ===

impl Uids {
    pub(super) fn new(log: &LogRef) -> Self {
        let text = format!("{}/{}/{}", log.pod.uid, log.container, log.attempt);
        let digest = Sha256::digest(text.as_bytes());
        let word = |at: usize| {
            let bytes = digest.get(at..).and_then(<[u8]>::first_chunk::<8>);
            bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        Self { seed: [word(0), word(8)] }
    }

    /// `head` stands for the file's first line.
    pub(super) fn of(&self, head: u64, stream: LogStream, at: Spot) -> Uid {
        let [first, second] = self.seed;
        // Each step can be undone, so two offsets of one file never share an id.
        let high = mix(first ^ mix(head) ^ at.offset);
        let low =
            mix(mix(second.wrapping_add(head) ^ at.offset) ^ at.skip ^ ((stream as u64) << 62));
        Uid(u128::from(high) << 64 | u128::from(low))
    }
}

/// The last step of splitmix64: spreads every bit, and no two numbers meet.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ephemon_model::PodUid;

    use super::*;

    fn log(container: &str, attempt: u32) -> LogRef {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod = PodRef { namespace: "ci".into(), name: "runner".into(), uid };
        LogRef { pod, container: container.into(), attempt }
    }

    #[test]
    fn ids_differ_by_log_file_stream_and_place_and_are_the_same_again() {
        let make = || {
            let mut ids = Vec::new();
            for log in [log("job", 0), log("job", 1), log("step", 0)] {
                for (head, stream) in
                    [(1, LogStream::Stdout), (1, LogStream::Stderr), (2, LogStream::Stdout)]
                {
                    for (offset, skip) in [(0, 0), (0, 1), (1, 0), (100, 0)] {
                        ids.push(Uids::new(&log).of(head, stream, Spot { file: 7, offset, skip }));
                    }
                }
            }
            ids
        };
        let ids = make();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert_eq!(ids, make());
    }

    #[test]
    fn an_id_does_not_depend_on_how_many_files_were_seen_before() {
        let uids = Uids::new(&log("job", 0));
        let at = |file| uids.of(9, LogStream::Stdout, Spot { file, offset: 5, skip: 0 });
        assert_eq!(at(0), at(3));
        assert_eq!(at(0).to_string().len(), 32);
    }
}

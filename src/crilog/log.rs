//! One container's log, followed: from its files to lines, with its accounting.

mod read;
mod records;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_model::LogFlaw;
use ephemon_model::LogLoss;
use ephemon_model::LogStream;

use super::accounting::{Accounting, ContainerLog, LostBytes};
use super::chain::Chain;
use super::files::LogFiles;
use super::join::{Joined, Joiner};
use super::place::{LogId, LogRef, Mark, Position, Spot, Uid, Uids};
use super::segment::Segment;

use self::records::Torn;

/// A line, or a part of one that is too long.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Whose.
    pub log: &'a Arc<LogRef>,
    /// The output it came by.
    pub stream: LogStream,
    /// Nanoseconds since 1970, as the runtime stamped the record that ended it; none with a flaw.
    pub time_unix_ns: Option<i64>,
    /// Its bytes without the newline, exactly as written; not always UTF-8.
    pub text: &'a [u8],
    /// The output ended here without a newline, or what followed is lost.
    pub unended: bool,
    /// What is wrong with its record.
    pub flaw: Option<LogFlaw>,
    /// Lines, and parts of lines, of the log up to this one, the same after a restart: it orders those
    /// that have the same time.
    pub number: u64,
    /// Which part of an over-long line this is; 0 also for a whole line.
    pub part: u32,
    /// More parts of the same line follow.
    pub continues: bool,
    /// Its id, the same after a restart.
    pub uid: Uid,
    /// To be acknowledged when it, and all before it of its log, is safe.
    pub position: Position,
}

/// How one log is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Longest line handed over whole.
    pub(super) max_line_bytes: usize,
    /// How long a file must be quiet to be taken for finished, once a newer one is there or its
    /// container has ended: the runtime writes what it holds after either.
    pub(super) settle: Duration,
    /// How long a deleted file must be quiet for its container to be taken for ended.
    pub(super) orphaned: Duration,
    /// The present time, nanoseconds since 1970.
    pub(super) now_ns: fn() -> u64,
}

/// A record that is longer than the buffer, being read.
#[derive(Debug, Clone, Copy)]
struct Long {
    stream: LogStream,
    time_unix_ns: Option<i64>,
    full: bool,
    at: Spot,
}

/// What one reading did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) more: bool,
}

/// One log.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, in any combination")]
pub(super) struct Log {
    pub(super) name: Arc<LogRef>,
    id: LogId,
    uids: Uids,
    pub(super) chain: Chain,
    joiner: Joiner,
    long: Option<Long>,
    torn: Option<Torn>,
    /// Where an earlier life left off: whether that is in a torn line is to be seen.
    resumed: Option<Spot>,
    /// The file being read: at the first look at another, it is seen whether lines go on in it.
    reading: Option<u32>,
    acked: Mark,
    /// Holes before it are counted.
    pub(super) holes_to: Spot,
    pub(super) lost_bytes: LostBytes,
    pub(super) lost_unknown: bool,
    /// Of `lost_bytes`, those that an end of this log told of.
    pub(super) told_bytes: LostBytes,
    /// Something of it was given up after it was handed over.
    pub(super) spoilt: bool,
    pub(super) ended: bool,
    pub(super) drained: bool,
    /// Its directory is no longer there.
    pub(super) gone: bool,
}

// === impl Log ===

impl Log {
    pub(super) fn new(id: LogId, name: LogRef) -> Self {
        Self::resume(id, name, Chain::default(), Mark::default(), None)
    }

    /// Goes on from a checkpoint.
    pub(super) fn resume(
        id: LogId,
        name: LogRef,
        chain: Chain,
        mark: Mark,
        lost: Option<(LostBytes, bool)>,
    ) -> Self {
        let joiner = if lost.is_some() { Joiner::resume(&mark) } else { Joiner::default() };
        let resumed = lost.is_some().then(|| mark.resume());
        let (lost_bytes, lost_unknown) = lost.unwrap_or_default();
        Self {
            uids: Uids::new(&name),
            name: Arc::new(name),
            id,
            chain,
            joiner,
            long: None,
            torn: None,
            resumed,
            reading: None,
            acked: mark,
            holes_to: Spot::default(),
            lost_bytes,
            lost_unknown,
            told_bytes: LostBytes::default(),
            spoilt: false,
            ended: false,
            drained: false,
            gone: false,
        }
    }

    /// Takes in files of it that are new. Others may have been rotated away before they were met.
    pub(super) fn meet(&mut self, files: &LogFiles<'_>, now: Instant) -> io::Result<()> {
        let met = self.chain.meet(files, now);
        // Also after an error: the log may end before its files can be met again.
        if self.chain.has_missed() {
            self.lose(LogLoss::Rotated, 0, true);
        }
        if self.chain.has_passed_over() {
            self.lose(LogLoss::Unreadable, 0, true);
        }
        met
    }

    /// Whether everything was handed over and acknowledged.
    pub(super) fn finished(&self) -> bool {
        self.drained && self.acked.lines >= self.joiner.lines()
    }

    /// What a checkpoint may say is delivered.
    pub(super) fn acked(&self) -> Mark {
        if self.finished() {
            let after = self.chain.segments().next_back().map_or_else(Spot::default, Segment::spot);
            return Mark { begun: [None; 3], ..self.joiner.mark(after) };
        }
        self.acked
    }

    pub(super) fn ack(&mut self, mark: &Mark) {
        if mark.lines > self.acked.lines && mark.lines <= self.joiner.lines() {
            self.acked = *mark;
            self.chain.prune(mark.resume().file);
        }
    }

    /// Memory in lines that are not whole.
    pub(super) fn held(&self) -> usize {
        self.joiner.held()
    }

    /// Gives that memory back: what is held is handed over in parts of lines.
    pub(super) fn relieve(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let next = self.chain.next_number();
        let read = self.chain.current().map(|(file, _)| file.spot());
        let here = read.unwrap_or(Spot { file: next, ..Spot::default() });
        let after = self.long.map_or(here, |long| Spot { skip: 0, ..long.at });
        let Self { joiner, uids, name, id, .. } = self;
        joiner.relieve(after, &mut |joined| sink(line_of(&joined, name, *id, uids)));
    }

    /// Whether its next text is in a compressed file.
    pub(super) fn is_packed(&mut self) -> bool {
        self.chain.current().is_some_and(|(file, _)| file.packed())
    }

    /// Whether a compressed file of it takes memory now.
    #[cfg(test)]
    pub(super) fn unpacks(&self) -> bool {
        self.chain.segments().filter_map(|file| file.source.as_ref()).any(|it| !it.is_resting())
    }

    /// Lets go of what a compressed file takes of memory.
    pub(super) fn rest(&mut self) {
        for file in self.chain.segments_mut() {
            if let Some(source) = &mut file.source {
                source.rest();
            }
        }
    }

    /// Bytes in its files that are not acknowledged.
    pub(super) fn lag_bytes(&self) -> u64 {
        let accounting = self.accounting();
        accounting
            .seen_bytes
            .saturating_sub(accounting.delivered_bytes + accounting.all_lost_bytes())
    }

    /// Its figures as of now.
    pub(super) fn accounting(&self) -> Accounting {
        let unread = self.chain.segments().fold(0_u64, |sum, file| sum + file.unread());
        let handed_over = self.joiner.bytes();
        let finished = self.finished();
        let mut accounting = Accounting {
            seen_bytes: handed_over + self.joiner.held_file_bytes() + unread,
            delivered_bytes: if finished { handed_over } else { self.acked.bytes },
            lines: self.joiner.lines(),
            delivered_lines: self.acked.lines,
            stream_lines: self.joiner.stream_lines(),
            stream_bytes: self.joiner.stream_bytes(),
            lost_bytes: self.lost_bytes,
            lost_unknown: self.lost_unknown,
        };
        accounting.seen_bytes = accounting.seen_bytes.saturating_add(accounting.all_lost_bytes());
        accounting
    }

    /// Its figures, and whether they are final.
    pub(super) fn report(&self) -> ContainerLog {
        let accounting = self.accounting();
        let proven =
            accounting.seen_bytes == accounting.delivered_bytes && !accounting.lost_unknown;
        let ended = self.finished();
        let complete = ended && proven && !self.spoilt;
        let told = |at: usize| self.told_bytes.get(at).copied().unwrap_or_default();
        let mut newly_lost_bytes = self.lost_bytes;
        for (at, lost) in newly_lost_bytes.iter_mut().enumerate() {
            *lost = lost.saturating_sub(told(at));
        }
        ContainerLog { log: self.name.clone(), accounting, newly_lost_bytes, ended, complete }
    }

    /// After the directory was read: files of the checkpoint that are nowhere are lost.
    pub(super) fn give_up_missing(&mut self, why: LogLoss) {
        let mut lost = 0_u64;
        let mut unknown = false;
        for file in self.chain.segments_mut() {
            if file.source.is_none() && !file.passed {
                lost = lost.saturating_add(file.unread());
                // A file that was being written had perhaps grown.
                unknown |= !file.sized;
                // One that was empty when last seen and is compressed by now is not known again,
                // but it is there: it is read as another.
                if file.unread() == 0 && (file.sized || file.size == 0) {
                    file.pass();
                } else {
                    file.give_up();
                }
            }
        }
        self.lose(why, lost, unknown);
    }

    /// Gives up the oldest of its deleted files that wait to be read.
    pub(super) fn give_up_deleted(&mut self, number: u32) {
        let file = self.chain.segments_mut().find(|file| file.number == number);
        if let Some(file) = file {
            let lost = file.unread();
            let packed = file.packed();
            file.give_up();
            self.long = None;
            self.lose(LogLoss::Cap, lost, packed);
            // A deleted file is its container's last, unless another is there already.
            self.gone |= self.chain.current().is_none();
        }
    }

    /// NUL bytes instead of text, which were perhaps seen in an earlier life.
    fn lose_hole(&mut self, file: u32, offset: u64, bytes: u64) {
        let end = Spot { file, offset: offset.saturating_add(bytes), skip: 0 };
        if end > self.holes_to {
            let is_begun = self.holes_to.file == file;
            let counted = if is_begun { self.holes_to.offset } else { 0 };
            self.lose(LogLoss::Nul, end.offset - offset.max(counted).min(end.offset), false);
            self.holes_to = end;
        }
    }

    pub(super) fn lose(&mut self, why: LogLoss, bytes: u64, unknown: bool) {
        let at = LogLoss::ALL.iter().position(|reason| *reason == why);
        if let Some(lost) = at.and_then(|at| self.lost_bytes.get_mut(at)) {
            *lost = lost.saturating_add(bytes);
        }
        self.lost_unknown |= unknown;
    }
}

// === impl Segment ===

impl Segment {
    fn spot(&self) -> Spot {
        Spot { file: self.number, offset: self.read, skip: 0 }
    }
}

#[inline]
fn line_of<'a>(joined: &Joined<'a>, log: &'a Arc<LogRef>, id: LogId, uids: &Uids) -> Line<'a> {
    let Joined { stream, time_unix_ns, text, part, continues, unended, start, head, mark } =
        *joined;
    let flaw = match (stream, time_unix_ns) {
        (LogStream::Unknown, _) => Some(LogFlaw::Record),
        (_, None) => Some(LogFlaw::Stamp),
        (_, Some(_)) => None,
    };
    Line {
        log,
        stream,
        time_unix_ns,
        text,
        unended,
        flaw,
        number: mark.lines,
        part,
        continues,
        uid: uids.of(head, stream, start),
        position: Position { log: id, mark },
    }
}

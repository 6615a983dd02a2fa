//! One container's log, followed: from its files to lines, with its books.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memchr;
use tracing::warn;

use super::books::{Books, ContainerLog, Loss};
use super::chain::Chain;
use super::head::Head;
use super::join::{Joined, Joiner, Piece};
use super::line::{self, Malformed, Record, Stream};
use super::place::{LogId, LogRef, Mark, Position, Spot, Uid, Uids};
use super::segment::{Look, Segment};

/// A line, or a part of one that is too long.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Whose.
    pub log: &'a Arc<LogRef>,
    /// The output it came by.
    pub stream: Stream,
    /// Nanoseconds since 1970, as the runtime stamped the record that ended it; none if malformed.
    pub time_unix_ns: Option<i64>,
    /// Its bytes without the newline, exactly as written; not always UTF-8.
    pub text: &'a [u8],
    /// The output ended here without a newline, or what followed is lost.
    pub unended: bool,
    /// No record of a runtime: `text` is all that stood there.
    pub malformed: bool,
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
}

/// A record that is longer than the buffer, being read.
#[derive(Debug, Clone, Copy)]
struct Long {
    stream: Stream,
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
pub(super) struct Log {
    pub(super) name: Arc<LogRef>,
    id: LogId,
    uids: Uids,
    pub(super) chain: Chain,
    joiner: Joiner,
    long: Option<Long>,
    /// The file being read: at the first look at another, it is seen whether lines go on in it.
    reading: Option<u32>,
    acked: Mark,
    pub(super) lost_bytes: [u64; 5],
    pub(super) lost_unknown: bool,
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
        lost: Option<([u64; 5], bool)>,
    ) -> Self {
        let joiner = if lost.is_some() { Joiner::resume(&mark) } else { Joiner::default() };
        let (lost_bytes, lost_unknown) = lost.unwrap_or_default();
        Self {
            uids: Uids::new(&name),
            name: Arc::new(name),
            id,
            chain,
            joiner,
            long: None,
            reading: None,
            acked: mark,
            lost_bytes,
            lost_unknown,
            ended: false,
            drained: false,
            gone: false,
        }
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

    /// Bytes in its files that are not acknowledged.
    pub(super) fn lag_bytes(&self) -> u64 {
        let books = self.books();
        books.seen_bytes.saturating_sub(books.delivered_bytes + books.all_lost_bytes())
    }

    /// Its figures as of now.
    pub(super) fn books(&self) -> Books {
        let unread = self.chain.segments().fold(0_u64, |sum, file| sum + file.unread());
        let handed_over = self.joiner.bytes();
        let finished = self.finished();
        let mut books = Books {
            seen_bytes: handed_over + self.joiner.held_file_bytes() + unread,
            delivered_bytes: if finished { handed_over } else { self.acked.bytes },
            lines: self.joiner.lines(),
            delivered_lines: self.acked.lines,
            stream_lines: self.joiner.stream_lines(),
            stream_bytes: self.joiner.stream_bytes(),
            lost_bytes: self.lost_bytes,
            lost_unknown: self.lost_unknown,
        };
        books.seen_bytes = books.seen_bytes.saturating_add(books.all_lost_bytes());
        books
    }

    /// Its figures, and whether they are final.
    pub(super) fn report(&self) -> ContainerLog {
        let books = self.books();
        let proven = books.seen_bytes == books.delivered_bytes && !books.lost_unknown;
        let ended = self.finished();
        ContainerLog { log: self.name.clone(), books, ended, complete: ended && proven }
    }

    /// After the directory was read: files of the checkpoint that are nowhere are lost.
    pub(super) fn give_up_missing(&mut self, why: Loss) {
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
            self.lose(Loss::Cap, lost, packed);
            // A deleted file is its container's last, unless another is there already.
            self.gone |= self.chain.current().is_none();
        }
    }

    pub(super) fn lose(&mut self, why: Loss, bytes: u64, unknown: bool) {
        let at = Loss::ALL.iter().position(|reason| *reason == why);
        if let Some(lost) = at.and_then(|at| self.lost_bytes.get_mut(at)) {
            *lost = lost.saturating_add(bytes);
        }
        self.lost_unknown |= unknown;
    }

    /// Reads a buffer's worth of the current file, or goes over to the next.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        rules: &Rules,
        now: Instant,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Done {
        let before = self.joiner.lines();
        let mut done = match self.step(buffer, rules, now, sink) {
            Ok(done) => done,
            Err(error) => {
                self.unreadable(&error, sink);
                Done { more: true, ..Done::default() }
            }
        };
        done.lines = self.joiner.lines().saturating_sub(before);
        done
    }

    fn step(
        &mut self,
        buffer: &mut [u8],
        rules: &Rules,
        now: Instant,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<Done> {
        let idle = Done::default();
        let over = Done { more: true, ..idle };
        self.break_lines(sink);
        let Some((file, later)) = self.chain.current() else {
            if self.ended || self.gone {
                self.drain(sink);
            }
            return Ok(idle);
        };
        match file.look(now)? {
            Look::Whole => {}
            Look::Shrunk(lost) => self.lose(Loss::Truncated, lost, true),
            Look::Truncated(lost) => {
                let end = file.spot();
                self.long = None;
                self.lose(Loss::Truncated, lost, true);
                self.flush(end, sink);
                self.chain.renew_current(now);
                return Ok(over);
            }
        }
        let Some((file, _)) = self.chain.current() else {
            return Ok(idle);
        };
        if file.packed() || (file.read < file.size && file.stuck_at != Some(file.size)) {
            let taken = self.take(buffer, rules, sink)?;
            if taken > 0 {
                return Ok(Done { bytes: taken, more: true, ..idle });
            }
        }
        let Some((file, _)) = self.chain.current() else {
            return Ok(idle);
        };
        file.stuck_at = Some(file.size);
        // With two newer files there, nobody writes to this one.
        let superseded = later > 1 || (later == 1 && file.quiet(now, rules.settle));
        if superseded {
            self.tail(buffer, rules, sink)?;
            return Ok(over);
        }
        let orphaned = file.unlinked_since.is_some() && file.quiet(now, rules.orphaned);
        if later == 0 && (orphaned || ((self.ended || self.gone) && file.quiet(now, rules.settle))) {
            self.ended = true;
            self.tail(buffer, rules, sink)?;
            self.drain(sink);
        }
        Ok(idle)
    }

    /// Where a new file is begun and one between was lost, what is held has no end.
    fn break_lines(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let Some(spot) = self.chain.current().map(|(file, _)| file.spot()) else {
            return;
        };
        let before = self.reading.replace(spot.file).unwrap_or(0);
        if before != spot.file {
            let between = |file: &&Segment| file.number >= before && file.number < spot.file;
            if self.chain.segments().filter(between).any(|file| file.broken) {
                self.flush(spot, sink);
            }
        }
    }

    /// Reads and hands over whole records; returns how many bytes they took.
    fn take(
        &mut self,
        buffer: &mut [u8],
        rules: &Rules,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<u64> {
        let Some((file, _)) = self.chain.current() else {
            return Ok(0);
        };
        let head = file.learn_head()?;
        let (number, offset) = (file.number, file.read);
        let Some(source) = &mut file.source else {
            return Ok(0);
        };
        let length = source.read_at(buffer, offset)?;
        let Some(chunk) = buffer.get(..length) else {
            return Ok(0);
        };
        if file.packed() {
            file.size = file.size.max(offset.saturating_add(length as u64));
        }
        let whole = length == buffer.len();
        let Some(head) = head else {
            return Ok(0);
        };
        let taken = self.records(chunk, whole, number, offset, head, rules, sink);
        if let Some((file, _)) = self.chain.current() {
            file.read = file.read.saturating_add(taken);
        }
        Ok(taken)
    }

    #[expect(clippy::too_many_arguments, reason = "one place calls it, with what it has just read")]
    fn records(
        &mut self,
        chunk: &[u8],
        whole: bool,
        number: u32,
        offset: u64,
        head: Head,
        rules: &Rules,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> u64 {
        let mut rest = chunk;
        let limit = rules.max_line_bytes;
        let Self { joiner, long, uids, name, id, .. } = self;
        let mut tell = |joined: Joined<'_>| sink(line_of(joined, name, *id, uids));
        while !rest.is_empty() {
            let before = (chunk.len() - rest.len()) as u64;
            let here = Spot { file: number, offset: offset + before, skip: 0 };
            let end = memchr(b'\n', rest);
            let (raw, next) = match end.and_then(|end| rest.split_at_checked(end)) {
                Some((raw, next)) => (raw, next.get(1..).unwrap_or_default()),
                // The end of a record that does not fit, or of one that is still being written.
                None if long.is_none() && !(whole && before == 0) => break,
                None => (rest, &[][..]),
            };
            let ends = end.is_some();
            let taken = (rest.len() - next.len()) as u64;
            let after = Spot { offset: here.offset + taken, ..here };
            let newline = u64::from(ends);
            if let Some(part) = long {
                let Long { stream, time_unix_ns, full, at } = *part;
                let overhead = newline;
                let head = head.hash;
                let text = raw;
                let piece =
                    Piece { stream, time_unix_ns, text, full, ends, at, after, overhead, head };
                joiner.piece(piece, limit, &mut tell);
                part.at.skip += raw.len() as u64;
                if ends {
                    *long = None;
                }
            } else {
                let (record, text);
                let (stream, time_unix_ns, full) = match line::parse(raw) {
                    Ok(parsed) => {
                        record = parsed;
                        let Record { time_unix_ns, stream, full, .. } = record;
                        text = &*record.text;
                        (stream, Some(time_unix_ns), full)
                    }
                    Err(Malformed(raw)) => {
                        text = raw;
                        (Stream::Unknown, None, true)
                    }
                };
                let overhead = (raw.len() - text.len().min(raw.len())) as u64 + newline;
                let (at, head) = (here, head.hash);
                let piece =
                    Piece { stream, time_unix_ns, text, full, ends, at, after, overhead, head };
                joiner.piece(piece, limit, &mut tell);
                if !ends {
                    let at = Spot { skip: text.len() as u64, ..here };
                    *long = Some(Long { stream, time_unix_ns, full, at });
                }
            }
            rest = next;
        }
        (chunk.len() - rest.len()) as u64
    }

    /// The file is over; it may end with a record that has no newline.
    fn tail(
        &mut self,
        buffer: &mut [u8],
        rules: &Rules,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<()> {
        let Some((file, _)) = self.chain.current() else {
            return Ok(());
        };
        let (number, offset) = (file.number, file.read);
        let length = match &mut file.source {
            Some(source) => source.read_at(buffer, offset)?,
            None => 0,
        };
        let rest = buffer.get(..length).unwrap_or_default();
        let head = file.head.unwrap_or_else(|| Head::exactly(rest));
        if length > 0 {
            // An empty file has none: it would be like every other.
            file.head = Some(head);
        }
        file.read = offset.saturating_add(length as u64);
        file.size = file.size.max(file.read);
        file.pass();
        if length > 0 || self.long.is_some() {
            // As if the newline were there: what is taken for it is not counted.
            let mut text = rest.to_vec();
            text.push(b'\n');
            let counted = self.joiner.bytes() + self.joiner.held_file_bytes();
            self.records(&text, false, number, offset, head, rules, sink);
            let now = self.joiner.bytes() + self.joiner.held_file_bytes();
            self.joiner.uncount(now.saturating_sub(counted).saturating_sub(length as u64));
        }
        Ok(())
    }

    /// Nothing more comes: what is held is handed over as it is.
    fn drain(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let after = Spot { file: self.chain.next_number(), ..Spot::default() };
        self.flush(after, sink);
        self.drained = true;
    }

    fn flush(&mut self, after: Spot, sink: &mut dyn FnMut(Line<'_>)) {
        let Self { joiner, uids, name, id, .. } = self;
        joiner.flush(after, &mut |joined| sink(line_of(joined, name, *id, uids)));
    }

    fn unreadable(&mut self, error: &io::Error, sink: &mut dyn FnMut(Line<'_>)) {
        let LogRef { pod, container, attempt } = &*self.name;
        warn!(
            pod = %pod.uid, %container, attempt, %error,
            "cannot read a log file to its end; going on with the next"
        );
        self.long = None;
        let Some((file, _)) = self.chain.current() else {
            return;
        };
        let (lost, end) = (file.unread(), file.spot());
        file.give_up();
        self.lose(Loss::Unreadable, lost, true);
        self.flush(end, sink);
    }
}

// === impl Segment ===

impl Segment {
    fn spot(&self) -> Spot {
        Spot { file: self.number, offset: self.read, skip: 0 }
    }
}

#[inline]
fn line_of<'a>(joined: Joined<'a>, log: &'a Arc<LogRef>, id: LogId, uids: &Uids) -> Line<'a> {
    let Joined { stream, time_unix_ns, text, part, continues, unended, start, head, mark } = joined;
    Line {
        log,
        stream,
        time_unix_ns,
        text,
        unended,
        malformed: stream == Stream::Unknown,
        part,
        continues,
        uid: uids.of(head, stream, start),
        position: Position { log: id, mark },
    }
}

//! How a log is read: buffers to records, records to pieces of lines, from one file to the next.

use std::io;
use std::time::Instant;

use ephemon_model::LogLoss;
use ephemon_model::LogStream;
use memchr::memchr;
use tracing::warn;

use super::{Done, Line, Log, Long, Rules, line_of};

use crate::head::Head;
use crate::join::{Joined, Piece};
use crate::line;
use crate::line::{Malformed, Record};
use crate::place::{LogRef, Spot};
use crate::segment::{Look, Segment};

// === impl Log ===

impl Log {
    /// Reads a buffer's worth of the current file, or goes over to the next.
    pub(crate) fn read(
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
            Look::Shrunk(lost) => self.lose(LogLoss::Truncated, lost, true),
            Look::Truncated(lost) => {
                let end = file.spot();
                self.long = None;
                self.lose(LogLoss::Truncated, lost, true);
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
        if later == 0 && (orphaned || ((self.ended || self.gone) && file.quiet(now, rules.settle)))
        {
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
        let mut tell = |joined: Joined<'_>| sink(line_of(&joined, name, *id, uids));
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
                        (LogStream::Unknown, None, true)
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
        joiner.flush(after, &mut |joined| sink(line_of(&joined, name, *id, uids)));
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
        self.lose(LogLoss::Unreadable, lost, true);
        self.flush(end, sink);
    }
}

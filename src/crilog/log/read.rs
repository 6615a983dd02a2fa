//! How a log is read: a buffer at a time, from one file to the next.

use std::io;
use std::time::Instant;

use ephemon_model::LogLoss;
use tracing::warn;

use super::records::{Chunk, Since, Torn};
use super::{Done, Line, Log, Rules, line_of};

use crate::head::Head;
use crate::hole;
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
                if self.chain.is_unseen() {
                    // Its name was there, and no file was ever opened.
                    self.lose(LogLoss::Removed, 0, true);
                }
                self.drain(sink);
            }
            return Ok(idle);
        };
        match file.look(now)? {
            Look::Whole => {}
            Look::Shrunk(lost) => self.lose(LogLoss::Truncated, lost, true),
            Look::Truncated(lost) => {
                self.begin_anew(lost, now, sink);
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
            if file.still_begins_so()? {
                self.tail(buffer, rules, sink)?;
            } else {
                self.begin_anew(0, now, sink);
            }
            return Ok(over);
        }
        let orphaned = file.unlinked_since.is_some() && file.quiet(now, rules.orphaned);
        if later == 0 && (orphaned || ((self.ended || self.gone) && file.quiet(now, rules.settle)))
        {
            self.ended = true;
            // It may have been written anew in the same tick of the kernel's clock.
            if !file.still_begins_so()? {
                self.begin_anew(0, now, sink);
                return Ok(over);
            }
            if !self.tail(buffer, rules, sink)? {
                return Ok(over);
            }
            self.drain(sink);
        }
        Ok(idle)
    }

    /// The current file was emptied and is written anew: of what it had before, so many bytes and
    /// perhaps more were not read.
    fn begin_anew(&mut self, lost: u64, now: Instant, sink: &mut dyn FnMut(Line<'_>)) {
        let Some(end) = self.chain.current().map(|(file, _)| file.spot()) else { return };
        self.long = None;
        self.lose(LogLoss::Truncated, lost, true);
        self.flush(end, sink);
        self.chain.renew_current(now);
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
        let here = Spot { file: number, offset, skip: 0 };
        if self.resumed.take_if(|at| *at <= here) == Some(here) && source.is_in_line(offset)? {
            self.torn = Some(Torn { file: number, since: Since::Unknown });
        }
        let length = source.read_at(buffer, offset)?;
        let Some(chunk) = buffer.get(..length) else {
            return Ok(0);
        };
        if file.packed() {
            file.size = file.size.max(offset.saturating_add(length as u64));
        }
        let is_full = length == buffer.len();
        let taken = match head {
            Some(head) => {
                let is_last = false;
                let chunk = Chunk { text: chunk, file: number, offset, head, is_full, is_last };
                self.records(&chunk, rules, sink).bytes
            }
            None => self.skip_blank(chunk, number, offset, is_full),
        };
        if let Some((file, _)) = self.chain.current() {
            file.read = file.read.saturating_add(taken);
        }
        Ok(taken)
    }

    /// Passes over a buffer of NUL bytes that stand before a file's first line.
    fn skip_blank(&mut self, text: &[u8], file: u32, offset: u64, is_full: bool) -> u64 {
        if !is_full || hole::leading(text) < text.len() {
            return 0;
        }
        let bytes = text.len() as u64;
        self.lose_hole(file, offset, bytes);
        bytes
    }

    /// The file is over; it may end with a record that has no newline. Says whether that was all.
    fn tail(
        &mut self,
        buffer: &mut [u8],
        rules: &Rules,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<bool> {
        let Some((file, _)) = self.chain.current() else {
            return Ok(true);
        };
        let (number, offset) = (file.number, file.read);
        let length = match &mut file.source {
            Some(source) => source.read_at(buffer, offset)?,
            None => 0,
        };
        if length == buffer.len() {
            // It has grown: there is more than an end.
            file.stuck_at = None;
            file.size = file.size.max(offset.saturating_add(length as u64));
            return Ok(false);
        }
        let rest = buffer.get(..length).unwrap_or_default();
        let head = file.head.or_else(|| Head::of(rest)).unwrap_or_else(|| Head::exactly(rest));
        if length > 0 {
            // An empty file has none: it would be like every other.
            file.head = Some(head);
        }
        file.read = offset.saturating_add(length as u64);
        file.size = file.size.max(file.read);
        file.pass();
        let text = hole::trim_end(rest);
        let blank = (rest.len() - text.len()) as u64;
        if !text.is_empty() || self.long.is_some() {
            // As if the newline were there: what is taken for it is not counted.
            let joined = |log: &Self| log.joiner.bytes() + log.joiner.held_file_bytes();
            let counted = joined(self);
            let ended = [text, b"\n"].concat();
            let (is_full, is_last) = (false, true);
            let chunk = Chunk { text: &ended, file: number, offset, head, is_full, is_last };
            let in_holes = self.records(&chunk, rules, sink).in_holes;
            let now = joined(self) + in_holes;
            self.joiner.uncount(now.saturating_sub(counted).saturating_sub(text.len() as u64));
        }
        self.lose_hole(number, offset.saturating_add(text.len() as u64), blank);
        Ok(true)
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

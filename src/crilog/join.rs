//! Pieces of lines to lines, each of the container's streams for itself. Pure.
//!
//! The two streams' pieces mingle in the file, and a line may begin in a rotated file and end in
//! its successor: what is held here outlives the file. A line over the bound is handed over in
//! parts, cut at the same bytes every time, so that nothing more is ever held.

use std::mem;

use ephemon_model::LogStream;

use super::place::{Begun, Mark, Spot};

/// What a held line may keep allocated once it is handed over.
const KEPT_CAPACITY: usize = 64 * 1024;

/// A record, or as much of a long one as was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) stream: LogStream,
    pub(super) time_unix_ns: Option<i64>,
    pub(super) text: &'a [u8],
    /// The line ends with this record.
    pub(super) full: bool,
    /// The record ends with this piece.
    pub(super) ends: bool,
    /// It has no newline: what followed is lost.
    pub(super) cut: bool,
    /// The record, and how much of its text came before.
    pub(super) at: Spot,
    /// What follows the record; looked at only if it ends.
    pub(super) after: Spot,
    /// Bytes of the file that are not text: header, newline.
    pub(super) overhead: u64,
    /// Stands for the file's first line.
    pub(super) head: u64,
}

/// A line, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined<'a> {
    pub(super) stream: LogStream,
    pub(super) time_unix_ns: Option<i64>,
    pub(super) text: &'a [u8],
    pub(super) part: u32,
    pub(super) continues: bool,
    pub(super) unended: bool,
    /// Where its first byte lies, and in which file.
    pub(super) start: Spot,
    pub(super) head: u64,
    pub(super) mark: Mark,
}

/// One stream's unfinished line.
#[derive(Debug, Default)]
struct Lane {
    held: Vec<u8>,
    start: Option<(Spot, u64)>,
    part: u32,
    time_unix_ns: Option<i64>,
    /// Bytes of files that it took.
    bytes: u64,
    /// Where the record goes on that was read last, unless it was read to its end.
    goes_on: Option<(Spot, u64)>,
    /// After a restart: what lies before is delivered already.
    from: Option<Begun>,
}

/// What follows what is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another line.
    Line,
    /// The next part of the line, and where it begins, if that is known yet.
    Part(Option<(Spot, u64)>),
    /// Nothing: the output ended, or what followed is lost.
    Nothing,
}

/// The streams of one log.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    lanes: [Lane; 3],
    lines: u64,
    bytes: u64,
    stream_lines: [u64; 3],
    stream_bytes: [u64; 3],
}

// === impl Joiner ===

impl Joiner {
    /// Goes on after a restart: what `mark` says is delivered is passed over.
    pub(super) fn resume(mark: &Mark) -> Self {
        let mut joiner = Self {
            lines: mark.lines,
            bytes: mark.bytes,
            stream_lines: mark.stream_lines,
            stream_bytes: mark.stream_bytes,
            ..Self::default()
        };
        for (lane, begun) in joiner.lanes.iter_mut().zip(mark.begun) {
            lane.from = Some(begun.unwrap_or(Begun { spot: mark.after, part: 0 }));
        }
        joiner
    }

    /// Lines and parts handed over.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Bytes of files in lines that are handed over.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of files in lines that are not whole yet.
    pub(super) fn held_file_bytes(&self) -> u64 {
        self.lanes.iter().fold(0, |sum, lane| sum.saturating_add(lane.bytes))
    }

    /// Bytes of memory for lines that are not whole yet, with what is only kept allocated.
    pub(super) fn held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.held.capacity()).fold(0, usize::saturating_add)
    }

    /// Gives the memory back: hands over as a part what is held of a line that goes on. `after`: the
    /// first record that is not looked at, or that is not looked at to its end.
    pub(super) fn relieve(&mut self, after: Spot, tell: &mut impl FnMut(Joined<'_>)) {
        for stream in LogStream::ALL {
            let lane = self.lane(stream);
            if !lane.held.is_empty() {
                // What begins with a record still to come is known by that one's place.
                let next = Next::Part(lane.goes_on);
                self.hand_over(stream, &[], after, next, tell);
            }
            self.lane(stream).held = Vec::new();
        }
    }

    /// Whole lines handed over, by stream.
    pub(super) fn stream_lines(&self) -> [u64; 3] {
        self.stream_lines
    }

    /// Bytes of text handed over, by stream.
    pub(super) fn stream_bytes(&self) -> [u64; 3] {
        self.stream_bytes
    }

    /// Takes a piece; hands over every line and part that it completes. No part is longer than
    /// `limit`.
    #[inline]
    pub(super) fn piece(
        &mut self,
        piece: Piece<'_>,
        limit: usize,
        tell: &mut impl FnMut(Joined<'_>),
    ) {
        let Some(piece) = self.undelivered(piece) else {
            return;
        };
        let stream = piece.stream;
        let mut rest = piece.text;
        let mut at = piece.at;
        let lane = self.lane(stream);
        lane.start.get_or_insert((at, piece.head));
        lane.time_unix_ns = piece.time_unix_ns;
        let mut overhead = piece.overhead;
        loop {
            let room = limit.saturating_sub(self.lane(stream).held.len());
            let Some((now, later)) = rest.split_at_checked(room).filter(|(_, l)| !l.is_empty())
            else {
                break;
            };
            at.skip = at.skip.saturating_add(length(now));
            if !now.is_empty() {
                // The header goes with the first part that has text of this record.
                self.lane(stream).bytes += length(now) + mem::take(&mut overhead);
            }
            // The record is not done with: to read on is to read it again and skip.
            let next = Next::Part(Some((at, piece.head)));
            let after = Spot { skip: 0, ..piece.at };
            self.hand_over(stream, now, after, next, tell);
            rest = later;
        }
        let lane = self.lane(stream);
        lane.bytes += length(rest) + overhead;
        at.skip = at.skip.saturating_add(length(rest));
        lane.goes_on = (!piece.ends).then_some((at, piece.head));
        if piece.ends && (piece.full || piece.cut) {
            let next = if piece.cut { Next::Nothing } else { Next::Line };
            self.hand_over(stream, rest, piece.after, next, tell);
        } else {
            lane.held.extend_from_slice(rest);
        }
    }

    /// Hands over what is held though no more of it comes: the container's output ended, or what
    /// followed is lost.
    pub(super) fn flush(&mut self, after: Spot, tell: &mut impl FnMut(Joined<'_>)) {
        for stream in LogStream::ALL {
            let lane = self.lane(stream);
            if lane.start.is_some() || lane.part > 0 {
                self.hand_over(stream, &[], after, Next::Nothing, tell);
            }
        }
    }

    /// Takes back bytes that were counted and are in no file.
    pub(super) fn uncount(&mut self, bytes: u64) {
        let mut left = bytes;
        for lane in &mut self.lanes {
            let here = left.min(lane.bytes);
            lane.bytes -= here;
            left -= here;
        }
        self.bytes = self.bytes.saturating_sub(left);
    }

    /// Up to where everything is handed over, if `after` is the first record not looked at.
    pub(super) fn mark(&self, after: Spot) -> Mark {
        let mut begun = [None; 3];
        for (begun, lane) in begun.iter_mut().zip(&self.lanes) {
            let open = lane.start.map(|(spot, _)| Begun { spot, part: lane.part });
            *begun = open.or(lane.from.filter(|from| from.spot >= after));
        }
        let Self { lines, bytes, stream_lines, stream_bytes, .. } = *self;
        Mark { lines, bytes, stream_lines, stream_bytes, after, begun }
    }

    fn lane(&mut self, stream: LogStream) -> &mut Lane {
        let [stdout, stderr, unknown] = &mut self.lanes;
        match stream {
            LogStream::Stdout => stdout,
            LogStream::Stderr => stderr,
            LogStream::Unknown => unknown,
        }
    }

    /// Cuts away what was delivered before the restart.
    fn undelivered<'a>(&mut self, mut piece: Piece<'a>) -> Option<Piece<'a>> {
        let lane = self.lane(piece.stream);
        let Some(Begun { spot: from, part }) = lane.from else {
            return Some(piece);
        };
        let here = (piece.at.file, piece.at.offset);
        let there = (from.file, from.offset);
        if here < there {
            return None;
        }
        if here == there {
            if let Some(drop) = from.skip.checked_sub(piece.at.skip).filter(|drop| *drop > 0) {
                let drop = usize::try_from(drop).unwrap_or(usize::MAX);
                piece.text = piece.text.get(drop..).filter(|text| !text.is_empty())?;
                piece.at = from;
                piece.overhead = 0;
            }
            lane.part = part;
        }
        lane.from = None;
        Some(piece)
    }

    #[inline]
    fn hand_over(
        &mut self,
        stream: LogStream,
        text: &[u8],
        after: Spot,
        next: Next,
        tell: &mut impl FnMut(Joined<'_>),
    ) {
        let lane = self.lane(stream);
        let mut kept = mem::take(&mut lane.held);
        let text = if kept.is_empty() {
            text
        } else {
            kept.extend_from_slice(text);
            &kept
        };
        // The end of a line of which no more came has no place of its own.
        let (start, head) = lane.start.unwrap_or((after, 0));
        let part = lane.part;
        let time_unix_ns = lane.time_unix_ns;
        let (continues, unended) = (matches!(next, Next::Part(_)), next == Next::Nothing);
        (lane.start, lane.part) = match next {
            Next::Part(start) => (start, part.saturating_add(1)),
            Next::Line | Next::Nothing => (None, 0),
        };
        let bytes = mem::take(&mut lane.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        self.lines += 1;
        if let Some(lines) = self.stream_lines.get_mut(stream as usize) {
            *lines += u64::from(!continues);
        }
        if let Some(bytes) = self.stream_bytes.get_mut(stream as usize) {
            *bytes += length(text);
        }
        let mark = self.mark(after);
        tell(Joined { stream, time_unix_ns, text, part, continues, unended, start, head, mark });
        if kept.capacity() > 0 && kept.capacity() <= KEPT_CAPACITY {
            kept.clear();
            self.lane(stream).held = kept;
        }
    }
}

fn length(text: &[u8]) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

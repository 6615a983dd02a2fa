//! What was read of a file, taken apart: records, pieces of long ones, and holes between and in them.

use std::borrow::Cow;

use memchr::memchr;

use super::{Line, Log, Long, Rules, line_of};

use crate::head::Head;
use crate::hole;
use crate::join::{Joined, Piece};
use crate::line;
use crate::line::Record;
use crate::place::Spot;
use ephemon_model::LogStream;

/// What was read of a file at once.
pub(super) struct Chunk<'a> {
    pub(super) text: &'a [u8],
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) head: Head,
    /// There may be more.
    pub(super) is_full: bool,
    /// There is no more: the file's last record has no newline, and the one here was added.
    pub(super) is_last: bool,
}

/// How much of a chunk was dealt with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Bytes, those in holes included.
    pub(super) bytes: u64,
    /// Bytes in holes.
    pub(super) in_holes: u64,
}

/// A line of a file with a hole in it. What looks like a record behind the hole may be a container's own
/// text, which has NUL bytes and then a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Torn {
    pub(super) file: u32,
    pub(super) since: Since,
}

/// When a record behind a hole was written at the earliest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since {
    /// The record before the hole has no time.
    Ever,
    /// Not before the record in front of the hole: nanoseconds since 1970.
    Time(i64),
    /// That record was read in an earlier life, and its time is not known any more.
    Unknown,
}

/// A record, or as much of it as there is.
struct Raw<'a> {
    text: &'a [u8],
    /// What follows it.
    next: &'a [u8],
    /// It ends here: with a newline, or in a hole.
    ends: bool,
    /// It ends without one.
    cut: bool,
    newline: u64,
    /// What follows is to be read again, with more behind it.
    waits: bool,
}

// === impl Log ===

impl Log {
    pub(super) fn records(
        &mut self,
        chunk: &Chunk<'_>,
        rules: &Rules,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Taken {
        let mut rest = chunk.text;
        let mut holes = Vec::new();
        let has_nul = memchr(0, rest).is_some();
        let Self { joiner, long, torn, uids, name, id, .. } = self;
        *torn = torn.filter(|torn| torn.file == chunk.file);
        let mut tell = |joined: Joined<'_>| sink(line_of(&joined, name, *id, uids));
        while !rest.is_empty() {
            let before = (chunk.text.len() - rest.len()) as u64;
            let here = Spot { file: chunk.file, offset: chunk.offset + before, skip: 0 };
            if has_nul && long.is_none() {
                let (blank, text) = rest.split_at(hole::leading(rest));
                if text.is_empty() && !chunk.is_full {
                    // Perhaps text that is on its way. What the file ends with is looked at then.
                    break;
                }
                if !blank.is_empty() {
                    // Of a record that is nothing but a hole, the newline too.
                    let text = match text.strip_prefix(b"\n") {
                        Some(next) => {
                            *torn = None;
                            next
                        }
                        None => text,
                    };
                    let bytes = (rest.len() - text.len()) as u64;
                    holes.push((here.offset, bytes));
                    // What a line went on with is perhaps what is lost.
                    joiner.flush(Spot { offset: here.offset + bytes, ..here }, &mut tell);
                    rest = text;
                    continue;
                }
            }
            let may_wait = long.is_none() && !(chunk.is_full && before == 0);
            let Some(raw) = raw(rest, chunk.is_last, has_nul, may_wait) else { break };
            let after = Spot { offset: here.offset + (rest.len() - raw.next.len()) as u64, ..here };
            let record;
            let (text, begun, header) = if let Some(begun) = *long {
                (raw.text, begun, 0)
            } else {
                record = record_of(raw.text, torn.as_ref(), rules);
                let Record { time_unix_ns, stream, full, .. } = record;
                let text = &*record.text;
                let header = (raw.text.len() - text.len().min(raw.text.len())) as u64;
                (text, Long { stream, time_unix_ns, full, at: here }, header)
            };
            let Long { stream, time_unix_ns, full, at } = begun;
            let Raw { ends, cut, newline, .. } = raw;
            if newline > 0 {
                *torn = None;
            } else if ends {
                let before = torn.map_or(Since::Ever, |torn| torn.since);
                let since = time_unix_ns.map_or(before, Since::Time);
                *torn = Some(Torn { file: chunk.file, since });
            }
            let (overhead, head) = (header + newline, chunk.head.id());
            let piece =
                Piece { stream, time_unix_ns, text, full, ends, cut, at, after, overhead, head };
            joiner.piece(piece, rules.max_line_bytes, &mut tell);
            let skip = at.skip + text.len() as u64;
            *long = (!ends).then_some(Long { at: Spot { skip, ..at }, ..begun });
            rest = raw.next;
            if raw.waits {
                break;
            }
        }
        let bytes = (chunk.text.len() - rest.len()) as u64;
        let mut in_holes = 0;
        for (offset, bytes) in holes {
            in_holes += bytes;
            self.lose_hole(chunk.file, offset, bytes);
        }
        Taken { bytes, in_holes }
    }
}

/// A record, also of what is none.
fn record_of<'a>(raw: &'a [u8], torn: Option<&Torn>, rules: &Rules) -> Record<'a> {
    let parsed = line::parse(raw).ok();
    let trusted =
        parsed.filter(|record| torn.is_none_or(|torn| torn.can_go_on_with(record, rules)));
    trusted.unwrap_or(Record {
        time_unix_ns: None,
        stream: LogStream::Unknown,
        full: true,
        text: Cow::Borrowed(raw),
    })
}

// === impl Torn ===

impl Torn {
    /// Whether a runtime may have written this behind the hole: not before what stands before it, and
    /// not later than now. A container that writes such a header itself gains nothing by it: it could
    /// have written the line then.
    fn can_go_on_with(&self, record: &Record<'_>, rules: &Rules) -> bool {
        let now = i64::try_from((rules.now_ns)()).unwrap_or(i64::MAX);
        record.time_unix_ns.is_some_and(|time| match self.since {
            Since::Ever => time <= now,
            Since::Time(since) => since <= time && time <= now,
            Since::Unknown => false,
        })
    }
}

/// The record that the text begins with; `None` where its end is still to come and can be waited for.
fn raw(rest: &[u8], is_last: bool, has_nul: bool, may_wait: bool) -> Option<Raw<'_>> {
    let end = memchr(b'\n', rest);
    let (text, next) = match end.and_then(|end| rest.split_at_checked(end)) {
        Some((text, next)) => (text, next.get(1..).unwrap_or_default()),
        // The end of a record that does not fit, or of one that is still being written.
        None if may_wait => return None,
        None => (rest, &[][..]),
    };
    let ends = end.is_some();
    let cut = is_last && ends && next.is_empty();
    let whole = Raw { text, next, ends, cut, newline: u64::from(ends), waits: false };
    if !has_nul {
        return Some(whole);
    }
    if let Some((text, next)) = hole::find(text).and_then(|at| rest.split_at_checked(at)) {
        return Some(Raw { text, next, ends: true, cut: true, newline: 0, waits: false });
    }
    // NUL bytes at the end of what there is may be the beginning of a hole.
    let kept = hole::trim_end(text);
    if ends || kept.is_empty() || kept.len() == text.len() {
        return Some(whole);
    }
    let (text, next) = rest.split_at_checked(kept.len())?;
    Some(Raw { text, next, waits: true, ..whole })
}

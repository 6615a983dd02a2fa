//! One open journal, and the position of each reader.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ephemon_contract::{JOURNAL_MAX_BYTES, Record};

use ephemon_contract::lines::Lines;

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Indexed by the reader's number.
    places: Vec<Place>,
    /// Position up to which invalid lines were counted by any reader.
    counted: u64,
    /// Whether its early end was counted.
    cut: bool,
}

/// The position of a reader.
#[derive(Debug, Default)]
struct Place {
    lines: Lines,
    /// Position up to which it was read; an incomplete record may begin before it.
    seen: u64,
    /// Nothing more is read from it.
    over: bool,
}

// === impl Journal ===

impl Journal {
    pub(super) fn new(file: File) -> Self {
        Self { file, places: Vec::new(), counted: 0, cut: false }
    }

    /// Moves a reader back to the start.
    pub(super) fn rewind(&mut self, reader: usize) {
        if let Some(place) = self.places.get_mut(reader) {
            *place = Place::default();
        }
    }

    /// Reads one buffer for a reader; returns the bytes read, and the number of invalid lines that
    /// no other reader has counted.
    pub(super) fn read(
        &mut self,
        reader: usize,
        buffer: &mut [u8],
        mut record: impl FnMut(u64, Record),
    ) -> (usize, u64) {
        let Self { file, places, counted, cut } = self;
        let Some(place) = place_of(places, reader) else { return (0, 0) };
        if place.over {
            return (0, 0);
        }
        let offset = place.lines.offset();
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < place.seen || offset >= JOURNAL_MAX_BYTES {
            // It was truncated, or has reached the maximum length: nothing more is read from it.
            place.over = true;
            let is_news = length != offset && !std::mem::replace(cut, true);
            return (0, u64::from(is_news));
        }
        if length == place.seen {
            return (0, 0);
        }
        // Never beyond the position up to which lines are counted.
        let ahead = counted.checked_sub(offset).filter(|ahead| *ahead > 0);
        let ahead = ahead.and_then(|ahead| usize::try_from(ahead).ok());
        let size = ahead.unwrap_or(buffer.len()).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..size) else { return (0, 0) };
        match file.read_at(buffer, offset) {
            Ok(count) => {
                let found = place.lines.take(buffer.get(..count).unwrap_or_default());
                for (at, one) in found.records {
                    record(at, one);
                }
                place.seen = offset.saturating_add(count as u64);
                *counted = (*counted).max(place.lines.offset());
                (count, if ahead.is_none() { found.bad } else { 0 })
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, 0),
            Err(_) => {
                place.over = true;
                (0, u64::from(!std::mem::replace(cut, true)))
            }
        }
    }
}

/// A reader's position, created if necessary. There are few readers, but thousands of journals.
fn place_of(places: &mut Vec<Place>, reader: usize) -> Option<&mut Place> {
    if places.len() <= reader {
        places.reserve_exact((reader + 1).saturating_sub(places.len()));
        places.resize_with(reader + 1, Place::default);
    }
    places.get_mut(reader)
}

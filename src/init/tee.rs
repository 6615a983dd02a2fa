//! The masked copy of a step's output: splits lines, handles workflow commands, applies masks.
//! Pure; the result is for the container's log.

use std::sync::Arc;

use ephemon_mask::workflow_command::{Commands, Name, Seen, may_be_command};
use ephemon_mask::{Masks, Matcher, work_for};

/// A longer line is masked and passed on in parts.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Replaces a line that registers a secret.
const ADD_MASK_SHOWN: &[u8] = b"::add-mask::***";
/// Replaces a line that cannot be masked.
const WITHHELD: &[u8] = b"[ephemon-init] withheld: too many values to mask";
/// Replaces a line, or a part of one, whose masking takes too long.
const TOO_COSTLY: &[u8] = b"[ephemon-init] withheld: the search for values to mask took too long";

/// One of the two output streams of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The tee of one step. Commands in one stream apply to both, as in the runner.
#[derive(Debug)]
pub(super) struct Tee {
    masks: Masks,
    commands: Commands,
    out: Partial,
    err: Partial,
}

/// An incomplete line.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Its beginning was passed on, so it is not a command.
    continued: bool,
    /// It registers a secret, and is hidden up to its end.
    hidden: bool,
}

// === impl Tee ===

impl Tee {
    /// A tee that adds values to `masks` and masks with them.
    pub(super) fn new(masks: Masks) -> Self {
        Self {
            masks,
            commands: Commands::default(),
            out: Partial::default(),
            err: Partial::default(),
        }
    }

    /// Takes output; returns what can be written now.
    pub(super) fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        let mut partial = std::mem::take(self.partial(stream));
        let mut matcher = self.masks.matcher();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let ends = matches!(piece.last(), Some(b'\n' | b'\r'));
            if ends && partial.is_empty() {
                self.end_line(&partial, piece, &mut matcher, &mut shown);
                continue;
            }
            partial.bytes.extend_from_slice(piece);
            if ends {
                let line = std::mem::take(&mut partial.bytes);
                self.end_line(&partial, &line, &mut matcher, &mut shown);
                partial = Partial::default();
            } else if partial.bytes.len() > MAX_LINE_BYTES {
                self.part_line(&mut partial, matcher.as_deref(), &mut shown);
            }
        }
        *self.partial(stream) = partial;
        shown
    }

    /// Ends the stream and an unterminated line, so that what follows in the log begins on a new
    /// line.
    pub(super) fn finish(&mut self, stream: Stream) -> Vec<u8> {
        if self.partial(stream).is_empty() { Vec::new() } else { self.feed(stream, b"\n") }
    }

    fn partial(&mut self, stream: Stream) -> &mut Partial {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// Passes on the last part of a line, `line` with its end. Values that it registers apply at
    /// once.
    fn end_line(
        &mut self,
        partial: &Partial,
        line: &[u8],
        matcher: &mut Option<Arc<Matcher>>,
        shown: &mut Vec<u8>,
    ) {
        let (line, end) = line.split_at(line.len().saturating_sub(1));
        let mut told = false;
        if !partial.continued && !partial.hidden && may_be_command(line) {
            // Dropped first: a set without other references is changed without a copy.
            drop(matcher.take());
            told = self.learn(line);
            *matcher = self.masks.matcher();
        }
        match matcher {
            _ if partial.hidden => {}
            _ if told => shown.extend_from_slice(ADD_MASK_SHOWN),
            Some(matcher) => {
                let before = shown.len();
                if matcher.mask(line, work_for(line.len()), shown).is_err() {
                    shown.truncate(before);
                    shown.extend_from_slice(TOO_COSTLY);
                }
            }
            None if line.is_empty() => {}
            None => shown.extend_from_slice(WITHHELD),
        }
        shown.extend_from_slice(end);
    }

    /// Passes on the part of an overlong line in which no match can begin any more.
    fn part_line(&mut self, partial: &mut Partial, matcher: Option<&Matcher>, shown: &mut Vec<u8>) {
        if !partial.hidden && !partial.continued {
            // A value of this length is not registered, but it is not shown either.
            partial.hidden = self.commands.peek(&partial.bytes) == Some(Name::AddMask);
            if partial.hidden {
                self.masks.miss();
                shown.extend_from_slice(ADD_MASK_SHOWN);
            }
        }
        let Some(matcher) = matcher.filter(|_| !partial.hidden) else {
            partial.hidden = true;
            partial.bytes.clear();
            return;
        };
        partial.continued = true;
        let cut = partial.bytes.len().saturating_sub(matcher.longest());
        let (before, work) = (shown.len(), work_for(partial.bytes.len()));
        if let Ok(stop) = matcher.mask_until(&partial.bytes, cut, work, shown) {
            partial.bytes.drain(..stop);
        } else {
            shown.truncate(before);
            shown.extend_from_slice(TOO_COSTLY);
            partial.hidden = true;
            partial.bytes.clear();
        }
    }

    /// Executes a line that is a command; returns whether it registers a secret.
    fn learn(&mut self, line: &[u8]) -> bool {
        let Seen::Command(command) = self.commands.see(line) else { return false };
        if command.name != Name::AddMask {
            return false;
        }
        // The masks record that there are too many: from then on lines are withheld.
        self.masks.add(command.secrets().iter().map(Vec::as_slice)).ok();
        true
    }
}

// === impl Partial ===

impl Partial {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.continued && !self.hidden
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tee(values: &[&str]) -> Tee {
        let masks = Masks::default();
        masks.add(values.iter().map(|value| value.as_bytes())).expect("few");
        Tee::new(masks)
    }

    fn all(tee: &mut Tee, pieces: &[&[u8]]) -> String {
        let mut shown = Vec::new();
        for piece in pieces {
            shown.extend(tee.feed(Stream::Out, piece));
        }
        shown.extend(tee.finish(Stream::Out));
        String::from_utf8(shown).expect("utf-8")
    }

    #[test]
    fn a_value_is_masked_however_the_output_is_cut() {
        let text = b"one secret two\nsec";
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(all(&mut tee(&["secret"]), &[a, b]), "one *** two\nsec\n", "{cut}");
        }
    }

    #[test]
    fn add_mask_is_learned_and_not_shown() {
        let text = b"  ::add-mask::hunter2\nit is hunter2\n##[add-mask]other%0Aline\nother line\n";
        assert_eq!(
            all(&mut tee(&[]), &[text]),
            "::add-mask::***\nit is ***\n::add-mask::***\n*** ***\n"
        );
    }

    #[test]
    fn a_value_told_without_escaping_is_masked_as_it_was_written() {
        let text = b"::add-mask::p+w%25rd!x9\np+w%25rd!x9 p+w%rd!x9 p%2Bw%2525rd%21x9\n";
        assert_eq!(all(&mut tee(&[]), &[text]), "::add-mask::***\n*** *** ***\n");
    }

    #[test]
    fn one_streams_command_counts_for_the_other() {
        let mut tee = tee(&[]);
        tee.feed(Stream::Err, b"::Add-Mask::topsecret\n");
        assert_eq!(tee.feed(Stream::Out, b"topsecret\n"), b"***\n");
    }

    #[test]
    fn stop_commands_holds_until_its_word() {
        let text =
            b"::stop-commands::w0rd\n::add-mask::shown\nshown\n::w0rd::\n::add-mask::gone\ngone\n";
        assert_eq!(
            all(&mut tee(&[]), &[text]),
            "::stop-commands::w0rd\n::add-mask::shown\nshown\n::w0rd::\n::add-mask::***\n***\n"
        );
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_parts_and_masked_across_them() {
        let mut tee = tee(&["secret"]);
        let mut line = vec![b'x'; MAX_LINE_BYTES - 3];
        line.extend_from_slice(b"secret");
        line.resize(3 * MAX_LINE_BYTES, b'y');
        let shown = all(&mut tee, &line.chunks(1000).collect::<Vec<_>>());
        assert_eq!(shown.len(), 3 * MAX_LINE_BYTES - 3 + 1);
        assert!(!shown.contains("secret"));
        assert!(shown.contains("***"));
    }

    #[test]
    fn an_overlong_add_mask_is_not_shown_at_all() {
        let mut line = b"::add-mask::".to_vec();
        line.resize(2 * MAX_LINE_BYTES, b'k');
        let shown = all(&mut tee(&[]), &[&line, b"kkk\nafter\n"]);
        assert_eq!(shown, "::add-mask::***\nafter\n");
    }

    #[test]
    fn what_takes_too_long_to_mask_is_withheld_and_what_follows_is_not() {
        let values: Vec<String> =
            (b' '..=b'~').map(|last| "a".repeat(200) + &char::from(last).to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let shown = all(&mut tee(&values), &["a".repeat(4000).as_bytes(), b"\nafter\n"]);
        assert_eq!(shown.as_bytes(), [TOO_COSTLY, b"\nafter\n"].concat());
        let endless = "a".repeat(3 * MAX_LINE_BYTES);
        let shown = all(&mut tee(&values), &[endless.as_bytes(), b"\nafter\n"]);
        assert_eq!(shown.as_bytes(), [TOO_COSTLY, b"\nafter\n"].concat());
    }

    #[test]
    fn more_values_than_can_be_kept_withhold_the_log() {
        let mut tee = tee(&[]);
        for n in 0..5000 {
            tee.feed(Stream::Out, format!("::add-mask::value-{n}\n").as_bytes());
        }
        let shown = all(&mut tee, &[b"value-4999\n\n"]);
        assert_eq!(shown.as_bytes(), [WITHHELD, b"\n\n"].concat());
    }

    proptest! {
        #[test]
        fn without_masks_and_commands_nothing_changes(lines in "([a-z ]{0,20}\n){0,9}", cut in 1..30_usize) {
            let pieces: Vec<&[u8]> = lines.as_bytes().chunks(cut).collect();
            prop_assert_eq!(all(&mut tee(&[]), &pieces), lines);
        }

        #[test]
        fn a_value_never_shows_however_cut(
            value in "[a-z]{4,9}", text in "[a-z\n]{0,40}", cut in 1..20_usize,
        ) {
            let text = format!("{text}{value}{text}\n");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            prop_assert!(!all(&mut tee(&[&value]), &pieces).contains(&value));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut tee = tee(&["a"]);
            tee.feed(Stream::Out, &bytes);
            tee.finish(Stream::Out);
        }
    }
}

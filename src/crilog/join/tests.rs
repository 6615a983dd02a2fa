//! Records of two streams, joined, cut and taken up again.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Written {
    stderr: bool,
    full: bool,
    text: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    stream: LogStream,
    text: Vec<u8>,
    part: u32,
    continues: bool,
    unended: bool,
    start: Spot,
    mark: Mark,
}

fn told(joined: &Joined<'_>) -> Told {
    let Joined { stream, text, part, continues, unended, start, mark, .. } = *joined;
    Told { stream, text: text.to_vec(), part, continues, unended, start, mark }
}

/// Gives every record from `resume` on in pieces of at most `cut` bytes.
fn run(joiner: &mut Joiner, records: &[Written], limit: usize, cut: usize) -> Vec<Told> {
    run_relieved(joiner, records, limit, cut, usize::MAX)
}

/// The same, giving memory back after every so many pieces.
fn run_relieved(
    joiner: &mut Joiner,
    records: &[Written],
    limit: usize,
    cut: usize,
    every: usize,
) -> Vec<Told> {
    let mut given = 0_usize;
    let mut all = Vec::new();
    for (at, record) in (0_u64..).zip(records) {
        let stream = if record.stderr { LogStream::Stderr } else { LogStream::Stdout };
        let spot = Spot { file: 0, offset: at * 1000, skip: 0 };
        let after = Spot { offset: (at + 1) * 1000, ..spot };
        let pieces: Vec<&[u8]> = match record.text.len() {
            0 => vec![&[]],
            _ => record.text.chunks(cut).collect(),
        };
        let mut skip = 0;
        for (number, text) in pieces.iter().enumerate() {
            let piece = Piece {
                stream,
                time_unix_ns: Some(1),
                text,
                full: record.full,
                ends: number + 1 == pieces.len(),
                at: Spot { skip, ..spot },
                after,
                overhead: if number == 0 { 10 } else { 0 },
                head: 1,
            };
            joiner.piece(piece, limit, &mut |joined| all.push(told(&joined)));
            skip += text.len() as u64;
            given += 1;
            if given.is_multiple_of(every) {
                let here = if piece.ends { after } else { spot };
                joiner.relieve(here, &mut |joined| all.push(told(&joined)));
                assert_eq!(joiner.held(), 0);
            }
        }
    }
    let end = Spot { file: 0, offset: records.len() as u64 * 1000, skip: 0 };
    joiner.flush(end, &mut |joined| all.push(told(&joined)));
    all
}

fn written(stderr: bool, full: bool, text: &str) -> Written {
    Written { stderr, full, text: text.into() }
}

fn texts(told: &[Told]) -> Vec<(LogStream, String, bool)> {
    let text = |told: &Told| String::from_utf8(told.text.clone()).unwrap();
    told.iter().map(|told| (told.stream, text(told), told.unended)).collect()
}

#[test]
fn the_streams_pieces_mingle_and_are_joined_each_for_itself() {
    let records = [
        written(false, false, "out1"),
        written(true, false, "err1"),
        written(false, true, "out2"),
        written(true, true, "err2"),
        written(false, false, "rest"),
    ];
    assert_eq!(
        texts(&run(&mut Joiner::default(), &records, 100, 100)),
        [
            (LogStream::Stdout, "out1out2".to_owned(), false),
            (LogStream::Stderr, "err1err2".to_owned(), false),
            (LogStream::Stdout, "rest".to_owned(), true),
        ]
    );
}

#[test]
fn a_line_over_the_bound_comes_in_parts_and_no_more_is_held() {
    let mut joiner = Joiner::default();
    let records = vec![written(false, false, &"x".repeat(7)); 100];
    let all = run(&mut joiner, &records, 10, 3);
    assert!(all.iter().all(|told| told.text.len() <= 10));
    assert_eq!(all.iter().map(|told| told.text.len()).sum::<usize>(), 700);
    assert_eq!(all.iter().map(|told| told.part).collect::<Vec<_>>(), (0..70).collect::<Vec<_>>());
    let last = all.len() - 1;
    assert!(all.iter().enumerate().all(|(at, told)| told.continues == (at != last)));
    // With what a buffer has to spare.
    assert!(joiner.held() <= 16);
}

fn records() -> impl Strategy<Value = Vec<Written>> {
    let text = prop::collection::vec(any::<u8>(), 0..40);
    let record = (any::<bool>(), any::<bool>(), text).prop_map(|(stderr, full, text)| Written {
        stderr,
        full,
        text,
    });
    prop::collection::vec(record, 0..20)
}

/// The lines of each stream, whatever parts they came in.
fn lines(told: &[Told]) -> Vec<(LogStream, Vec<u8>)> {
    let mut lines = Vec::new();
    for stream in LogStream::ALL {
        let mut line = Vec::new();
        for one in told.iter().filter(|one| one.stream == stream) {
            line.extend_from_slice(&one.text);
            if !one.continues {
                lines.push((stream, mem::take(&mut line)));
            }
        }
        assert_eq!(line, b"", "every line has an end");
    }
    lines
}

proptest! {
    #[test]
    fn memory_given_back_at_any_time_changes_no_lines_text(
        records in records(),
        limit in 1..30_usize,
        cut in 1..8_usize,
        every in 1..6_usize,
    ) {
        let whole = run(&mut Joiner::default(), &records, limit, cut);
        let relieved = run_relieved(&mut Joiner::default(), &records, limit, cut, every);
        prop_assert_eq!(lines(&relieved), lines(&whole));
        // Where any of it is delivered, to go on from there is to miss nothing.
        for (at, last) in relieved.iter().enumerate() {
            let rest = run(&mut Joiner::resume(&last.mark), &records, limit, cut);
            let bytes = |told: &[Told], stream| -> Vec<u8> {
                let texts = told.iter().filter(|one| one.stream == stream);
                texts.flat_map(|one| one.text.clone()).collect()
            };
            for stream in LogStream::ALL {
                let mut all = bytes(&relieved[..=at], stream);
                all.extend(bytes(&rest, stream));
                prop_assert_eq!(all, bytes(&whole, stream));
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_made_up_however_it_is_read(
        records in records(), limit in 1..30_usize, cut in 1..50_usize,
    ) {
        let mut joiner = Joiner::default();
        let all = run(&mut joiner, &records, limit, cut);
        for (stderr, stream) in [(false, LogStream::Stdout), (true, LogStream::Stderr)] {
            let of = |told: &&Told| told.stream == stream;
            let got: Vec<u8> = all.iter().filter(of).flat_map(|told| told.text.clone()).collect();
            let expected: Vec<u8> =
                records.iter().filter(|r| r.stderr == stderr).flat_map(|r| r.text.clone()).collect();
            prop_assert_eq!(got, expected);
        }
        // And the same lines with the same places, whole or in pieces.
        let again = run(&mut Joiner::default(), &records, limit, 1000);
        let places = |all: &[Told]| -> Vec<_> {
            all.iter().map(|t| (t.stream, t.start, t.text.clone())).collect()
        };
        prop_assert_eq!(places(&all), places(&again));
        let bytes: u64 = records.iter().map(|r| r.text.len() as u64 + 10).sum();
        prop_assert_eq!(joiner.bytes(), bytes);
    }

    #[test]
    fn after_a_restart_at_any_line_exactly_the_rest_comes_with_the_same_places(
        records in records(), limit in 1..30_usize, at: prop::sample::Index, cut in 1..50_usize,
    ) {
        let all = run(&mut Joiner::default(), &records, limit, cut);
        prop_assume!(!all.is_empty());
        let at = at.index(all.len());
        prop_assume!(!all[at].unended);
        let mut joiner = Joiner::resume(&all[at].mark);
        // Read from the beginning, which is more than has to be read.
        let mut rest = run(&mut joiner, &records, limit, cut);
        // A stream that has nothing open may be said to begin where reading goes on.
        for (told, first) in rest.iter_mut().zip(&all[at + 1..]) {
            prop_assert_eq!(told.mark.resume(), first.mark.resume());
            told.mark.begun = first.mark.begun;
        }
        prop_assert_eq!(&rest, &all[at + 1..]);
        prop_assert_eq!(joiner.lines(), all.len() as u64);
    }
}

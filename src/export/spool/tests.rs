//! The spool against a simple model: appended, acknowledged, killed, torn and damaged in any order.

use std::io::{Seek as _, SeekFrom, Write as _};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const ROOMY: Limits = Limits { bytes: 1 << 30, age: Duration::from_hours(1) };
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

#[derive(Debug, Clone)]
enum Step {
    Append {
        length: usize,
        synced: bool,
    },
    Read {
        acknowledged: bool,
    },
    /// The process is killed and starts again; with it the machine, where something of what was not
    /// synced is gone and something else is in its place.
    Restart {
        kept: Option<f64>,
        garbage: Vec<u8>,
    },
    Flush,
}

/// What must be true of the spool.
struct Model {
    home: TempDir,
    /// Bodies by sequence.
    history: Vec<Vec<u8>>,
    acknowledged: u64,
    /// What survives anything: everything before this sequence, and this much of that file.
    synced: u64,
    synced_file: (PathBuf, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0_usize..40_000, any::<bool>())
        .prop_map(|(length, synced)| Step::Append { length, synced });
    let read = any::<bool>().prop_map(|acknowledged| Step::Read { acknowledged });
    let kept = proptest::option::of(0.0..=1.0);
    let garbage = proptest::collection::vec(any::<u8>(), 0..100);
    let restart = (kept, garbage).prop_map(|(kept, garbage)| Step::Restart { kept, garbage });
    let step = prop_oneof![4 => append, 3 => read, 2 => restart, 1 => Just(Step::Flush)];
    proptest::collection::vec(step, 1..60)
}

fn segments(home: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        listed.filter(|path| path.extension().is_some_and(|end| end == "spool")).collect();
    all.sort();
    all
}

fn body(sequence: usize, length: usize) -> Vec<u8> {
    let mut body = sequence.to_le_bytes().to_vec();
    body.resize(length.max(8), sequence.to_le_bytes()[0]);
    body
}

fn open(home: &Path, limits: Limits) -> Spool {
    Spool::open(home, limits).unwrap()
}

/// All that is left, read and acknowledged.
fn drain(spool: &mut Spool) -> Vec<Record> {
    let mut all = Vec::new();
    while let Some(record) = spool.read(NOW).unwrap() {
        spool.acknowledge(record.sequence).unwrap();
        all.push(record);
    }
    assert_eq!(spool.head(), None);
    all
}

impl Model {
    fn note_sync(&mut self) {
        self.synced = self.history.len() as u64;
        if let Some(last) = segments(self.home.path()).pop() {
            let length = last.metadata().unwrap().len();
            self.synced_file = (last, length);
        }
    }

    fn tear(&self, kept: f64, garbage: &[u8]) {
        let Some(last) = segments(self.home.path()).pop() else { return };
        let length = last.metadata().unwrap().len();
        // The preamble is always on the disk: without it, damage could not be told from a crash.
        let preamble = frame::PREAMBLE_BYTES as u64;
        let safe = if self.synced_file.0 == last { self.synced_file.1 } else { preamble };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
        let left = safe + ((length - safe) as f64 * kept) as u64;
        let mut file = fs::OpenOptions::new().write(true).open(&last).unwrap();
        file.set_len(left).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(garbage).unwrap();
    }

    /// The process has started again: what is there is what was synced, and perhaps more.
    fn check_start(&mut self, spool: &mut Spool) {
        let next = spool.next_sequence();
        assert!(self.synced <= next && next <= self.history.len() as u64, "{next}");
        self.history.truncate(usize::try_from(next).unwrap());
        let head = spool.head().unwrap_or(next);
        assert!(head <= self.acknowledged.min(next), "{head} of {}", self.acknowledged);
        // What is sent a second time is sent in order, too.
        self.acknowledged = head;
        assert_eq!(spool.take_losses(), []);
    }

    fn read(&mut self, spool: &mut Spool, acknowledged: bool) {
        let record = spool.read(NOW).unwrap();
        let index = usize::try_from(self.acknowledged).unwrap();
        assert_eq!(record.as_ref().map(|record| &record.body), self.history.get(index));
        let Some(record) = record else { return };
        assert_eq!((record.sequence, record.items), (self.acknowledged, 1));
        if acknowledged {
            spool.acknowledge(record.sequence).unwrap();
            self.acknowledged += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_durable_comes_out_in_order_whatever_happens_in_between(steps in steps()) {
        let home = tempfile::tempdir().unwrap();
        // Small segments: the cap is a hundred times what is appended.
        let limits = Limits { bytes: 8 << 20, ..ROOMY };
        let mut spool = open(home.path(), limits);
        let mut model = Model {
            home,
            history: Vec::new(),
            acknowledged: 0,
            synced: 0,
            synced_file: (PathBuf::new(), 0),
        };
        for step in steps {
            match step {
                Step::Append { length, synced } => {
                    let body = body(model.history.len(), length);
                    let sequence = spool.append(1, 1, &body, NOW).unwrap();
                    prop_assert_eq!(sequence, model.history.len() as u64);
                    model.history.push(body);
                    if synced {
                        spool.sync().unwrap();
                        model.note_sync();
                    }
                }
                Step::Read { acknowledged } => model.read(&mut spool, acknowledged),
                Step::Flush => {
                    spool.flush().unwrap();
                    model.note_sync();
                }
                Step::Restart { kept, garbage } => {
                    drop(spool);
                    if let Some(kept) = kept {
                        model.tear(kept, &garbage);
                    } else {
                        // A killed process: what was written is written.
                        model.note_sync();
                    }
                    spool = open(model.home.path(), limits);
                    model.check_start(&mut spool);
                    model.note_sync();
                }
            }
        }
        while model.acknowledged < model.history.len() as u64 {
            model.read(&mut spool, true);
        }
        prop_assert_eq!(spool.read(NOW).unwrap(), None);
        prop_assert_eq!(spool.take_losses(), []);
    }

    #[test]
    fn a_damaged_byte_costs_what_it_hit_and_that_is_counted(
        lengths in proptest::collection::vec(0_usize..30_000, 1..20),
        place in 0.0..1.0_f64,
        flip in 1_u8..,
    ) {
        let home = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 1 << 20, ..ROOMY };
        let mut spool = open(home.path(), limits);
        for (number, length) in lengths.iter().enumerate() {
            spool.append(1, 1, &body(number, *length), NOW).unwrap();
        }
        spool.sync().unwrap();
        drop(spool);
        let files = segments(home.path());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let hit = (files.len() as f64 * place) as usize;
        let mut bytes = fs::read(&files[hit]).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (bytes.len() as f64 * (place * files.len() as f64).fract()) as usize;
        bytes[at] ^= flip;
        fs::write(&files[hit], bytes).unwrap();

        let mut spool = open(home.path(), limits);
        let read = drain(&mut spool);
        for record in &read {
            let number = usize::try_from(record.sequence).unwrap();
            prop_assert_eq!(&record.body, &body(number, lengths[number]));
        }
        prop_assert!(read.is_sorted_by_key(|record| record.sequence));
        let losses = spool.take_losses();
        prop_assert!(losses.iter().all(|loss| loss.reason == Reason::SpoolCorrupt));
        let lost: u64 = losses.iter().map(|loss| loss.items).sum();
        let all = lengths.len() as u64;
        prop_assert!(read.len() as u64 + lost <= all);
        // The end of the last file may look like a record that was being written.
        if hit + 1 < files.len() {
            prop_assert_eq!(read.len() as u64 + lost, all);
        }
    }

    #[test]
    fn nothing_goes_uncounted_when_the_spool_is_too_small(
        lengths in proptest::collection::vec((0_usize..50_000, 0_u64..5, any::<bool>()), 1..60),
    ) {
        let home = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 200_000, ..ROOMY };
        let mut spool = open(home.path(), limits);
        let (mut appended, mut read) = (0, 0);
        for (number, (length, items, acknowledged)) in lengths.iter().enumerate() {
            spool.append(1, *items, &body(number, *length), NOW).unwrap();
            appended += items;
            prop_assert!(spool.bytes() <= limits.bytes);
            let on_disk: u64 =
                segments(home.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
            prop_assert_eq!(on_disk, spool.bytes());
            if *acknowledged && let Some(record) = spool.read(NOW).unwrap() {
                spool.acknowledge(record.sequence).unwrap();
                read += record.items;
            }
        }
        read += drain(&mut spool).iter().map(|record| record.items).sum::<u64>();
        let losses = spool.take_losses();
        prop_assert!(losses.iter().all(|loss| loss.reason == Reason::SpoolFull));
        prop_assert_eq!(read + losses.iter().map(|loss| loss.items).sum::<u64>(), appended);
    }
}

#[test]
fn what_is_too_old_is_given_up_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 1 << 20, age: Duration::from_mins(1) };
    let mut spool = open(home.path(), limits);
    spool.append(1, 3, b"old", NOW).unwrap();
    let later = NOW + Duration::from_mins(1);
    assert_eq!(spool.read(later).unwrap().unwrap().body, b"old");
    let later = later + Duration::from_secs(1);
    assert_eq!(spool.read(later).unwrap(), None);
    let losses = spool.take_losses();
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].reason, losses[0].items), (Reason::SpoolExpired, 3));
    spool.append(1, 1, b"new", later).unwrap();
    // A clock that is set back makes nothing old.
    assert_eq!(spool.read(NOW).unwrap().unwrap().body, b"new");
}

#[test]
fn a_record_that_was_dropped_while_it_was_sent_is_acknowledged_without_harm() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path(), Limits { bytes: 100_000, ..ROOMY });
    spool.append(1, 1, &vec![1; 60_000], NOW).unwrap();
    let first = spool.read(NOW).unwrap().unwrap();
    spool.append(1, 1, &vec![2; 60_000], NOW).unwrap();
    spool.acknowledge(first.sequence).unwrap();
    assert_eq!(drain(&mut spool).len(), 1);
    assert_eq!(spool.take_losses().len(), 1);
}

#[test]
fn a_body_that_looks_like_a_record_is_never_taken_for_one() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path(), ROOMY);
    let inner = b"forged".to_vec();
    let mut forged = Header::of(1, 1, 1, 0, &inner).encode(0).to_vec();
    forged.extend_from_slice(&inner);
    spool.append(1, 1, &forged, NOW).unwrap();
    spool.append(1, 1, b"honest", NOW).unwrap();
    drop(spool);
    let file = segments(home.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[frame::PREAMBLE_BYTES + 9] ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut spool = open(home.path(), ROOMY);
    let read = drain(&mut spool);
    assert_eq!(read.iter().map(|record| record.body.as_slice()).collect::<Vec<_>>(), [b"honest"]);
    assert_eq!(spool.take_losses().len(), 1);
}

#[test]
fn a_crash_while_a_segment_was_made_is_no_loss_and_a_damaged_beginning_is() {
    let home = tempfile::tempdir().unwrap();
    let next = |sequence: u64| home.path().join(format!("{sequence:020}.spool"));
    // What file systems leave of a file whose size is on the disk and whose content is not.
    for length in [0, 7, frame::PREAMBLE_BYTES] {
        fs::write(next(0), vec![0; length]).unwrap();
        let mut spool = open(home.path(), ROOMY);
        assert_eq!(spool.take_losses(), [], "{length} zeros");
        assert_eq!(segments(home.path()), <[PathBuf; 0]>::default());
    }
    let mut spool = open(home.path(), ROOMY);
    spool.append(1, 1, b"a", NOW).unwrap();
    spool.flush().unwrap();
    drop(spool);
    let mut bytes = fs::read(next(0)).unwrap();
    bytes[0] ^= 1;
    fs::write(next(0), bytes).unwrap();
    let losses = open(home.path(), ROOMY).take_losses();
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].reason, losses[0].items), (Reason::SpoolCorrupt, 1));
}

#[test]
fn a_header_whose_body_was_never_written_is_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path(), ROOMY);
    spool.append(1, 1, &[1; 500], NOW).unwrap();
    spool.append(1, 1, &[2; 500], NOW).unwrap();
    spool.flush().unwrap();
    drop(spool);
    let file = segments(home.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let half = bytes.len() - 250;
    bytes[half..].fill(0);
    fs::write(&file, bytes).unwrap();
    let mut spool = open(home.path(), ROOMY);
    assert_eq!((spool.next_sequence(), spool.take_losses()), (1, vec![]));
    spool.append(1, 1, b"anew", NOW).unwrap();
    let read: Vec<_> = drain(&mut spool).into_iter().map(|record| record.body).collect();
    assert_eq!(read, [vec![1; 500], b"anew".to_vec()]);
    assert_eq!(spool.take_losses(), []);
}

#[test]
fn a_full_disk_is_an_error_and_nothing_more() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path(), ROOMY);
    // Whatever is written to it is refused for want of room.
    let first = home.path().join(format!("{:020}.spool", 0));
    std::os::unix::fs::symlink("/dev/full", &first).unwrap();
    let error = spool.append(1, 1, b"a", NOW).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(error.to_string().contains(".spool"), "{error}");
    spool.append(1, 1, b"b", NOW).unwrap();

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    spool.writer = Some(Writer::new(full, &first, 0, 0));
    assert!(spool.append(1, 1, b"c", NOW).unwrap_err().is_full());
    spool.append(1, 1, b"d", NOW).unwrap();
    let read: Vec<_> = drain(&mut spool).into_iter().map(|record| record.body).collect();
    assert_eq!(read, [b"b", b"d"]);
    assert_eq!(spool.take_losses(), []);
}

#[test]
fn what_waits_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("spool/logs");
    let mut spool = open(&directory, ROOMY);
    spool.append(1, 1, b"a", NOW).unwrap();
    spool.flush().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&segments(&directory)[0]), 0o600);
}

#[test]
fn what_is_delivered_takes_no_room() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path(), ROOMY);
    for number in 0..13 {
        spool.append(1, 1, &body(number, 500_000), NOW).unwrap();
    }
    spool.sync().unwrap();
    assert!(spool.waiting_bytes() > 6_500_000);
    drain(&mut spool);
    assert_eq!((spool.waiting_bytes(), spool.bytes()), (0, 0));
    assert_eq!(segments(home.path()), <[PathBuf; 0]>::default());
    // A small one is kept, so that none has to be made for each record.
    spool.append(1, 1, b"small", NOW).unwrap();
    drain(&mut spool);
    assert_eq!((spool.waiting_bytes(), segments(home.path()).len()), (0, 1));
    spool.append(1, 1, b"next", NOW).unwrap();
    assert_eq!((drain(&mut spool).len(), spool.take_losses()), (1, vec![]));
}

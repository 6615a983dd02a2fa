//! Journals filled to every bound, as a hostile job writes them.

use ephemon_contract::{Record, StepKind};

/// Journals of a pod that are read, besides the hook's own.
pub(crate) const JOURNALS: usize = 32;
/// Records of 8 KiB that fit one.
pub(crate) const RECORDS: usize = 128;

/// As many records as fit a journal, all of this time.
pub(crate) fn full_journal(at_ns: u64) -> Vec<u8> {
    let started = Record::StepStarted {
        at_ns,
        step: 1,
        name: "x".repeat(7_900),
        kind: StepKind::Script,
        id: None,
        called_ns: None,
        pid: 1,
    };
    let line = started.to_line().unwrap();
    assert!(line.len() * RECORDS <= 1024 * 1024);
    line.repeat(RECORDS)
}

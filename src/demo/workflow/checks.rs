//! The durations within a call, from the journals that hook and init wrote. Pure except for reading
//! them.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ephemon_base::clock::{at_unix_ns, unix_ns};
use ephemon_contract::lines::Lines;
use ephemon_contract::{Record, Volume};

/// Every record of a pod's journals.
pub(super) fn records(volume: &Path) -> Vec<Record> {
    let journals = fs::read_dir(Volume::new(volume).journal()).into_iter().flatten().flatten();
    let texts = journals.filter_map(|file| fs::read(file.path()).ok());
    let records = texts.flat_map(|text| Lines::default().take(&text).records);
    records.map(|(_, record)| record).collect()
}

/// How long the process of the script step took that started in a call: the first one since
/// `began`.
pub(super) fn own_time(records: &[Record], began: SystemTime) -> Option<Duration> {
    let began = unix_ns(began);
    let started = records.iter().filter_map(|record| match record {
        Record::StepStarted { at_ns, step, .. } if *at_ns >= began => Some((*at_ns, *step)),
        _ => None,
    });
    let (_, step) = started.min()?;
    records.iter().find_map(|record| match record {
        Record::StepEnded { step: ended, duration_ns, at_ns, .. }
            if *ended == step && *at_ns >= began =>
        {
            Some(Duration::from_nanos(*duration_ns))
        }
        _ => None,
    })
}

/// When the hook requested the job container.
pub(super) fn asked_at(records: &[Record]) -> Option<SystemTime> {
    records.iter().find_map(|record| match record {
        Record::HookLaunched { at_ns, .. } => at_unix_ns(*at_ns),
        _ => None,
    })
}

/// The median.
pub(super) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use ephemon_contract::{CgroupDelta, End, ProcessUsage, StepKind};

    use super::*;

    #[test]
    fn a_steps_own_time_is_that_of_the_first_step_since_the_call_began() {
        let started = |at_ns, step| Record::StepStarted {
            at_ns,
            step,
            name: String::new(),
            kind: StepKind::Script,
            id: None,
            called_ns: None,
            pid: 2,
        };
        let ended = |at_ns, step, duration_ns| Record::StepEnded {
            at_ns,
            step,
            duration_ns,
            end: End::Code(0),
            cancelled: false,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta::default(),
        };
        let records =
            [started(10, 1), ended(20, 1, 9), started(30, 2), ended(40, 2, 8), started(50, 3)];
        let own = |nanos| own_time(&records, UNIX_EPOCH + Duration::from_nanos(nanos));
        assert_eq!(own(5), Some(Duration::from_nanos(9)));
        assert_eq!(own(25), Some(Duration::from_nanos(8)));
        assert_eq!(own(45), None);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }
}

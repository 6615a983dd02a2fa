//! The journals of a pod, as hook and init write them.

use ephemon_base::clock::now_ns;
use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_journal::HOOK;

use super::Pod;

// === impl Pod ===

impl Pod {
    /// A record at the end of a journal: a container's, or the hook's.
    pub(crate) fn record(&self, file: &str, record: &Record) {
        self.write_journal(file, &record.to_line().unwrap());
    }

    /// Init's word that it runs.
    pub(crate) fn init_started(&self, container: &str) {
        let (at_ns, name) = (now_ns(), container.to_owned());
        let started = Record::ContainerStarted { at_ns, container: name, pid: 1, uid: 0 };
        self.record(container, &started);
    }

    /// Init's last word.
    pub(crate) fn init_ended(&self, container: &str, exit_code: u8) {
        let ended = Record::ContainerEnded { at_ns: now_ns(), exit_code, dropped: 0 };
        self.record(container, &ended);
    }

    /// The hook's word that it has asked for a container.
    pub(crate) fn launched(&self, container: &str) {
        let (container, image) = (container.to_owned(), "image".to_owned());
        let at_ns = now_ns();
        self.record(HOOK, &Record::HookLaunched { at_ns, container, image, running_at_ns: None });
    }

    /// Init's word that it runs a step's process.
    pub(crate) fn step_started(&self, container: &str, step: u64, name: &str, kind: StepKind) {
        let started = Record::StepStarted {
            at_ns: now_ns(),
            step,
            name: name.to_owned(),
            kind,
            id: Some(name.to_owned()),
            called_ns: None,
            pid: 7,
        };
        self.record(container, &started);
    }

    /// Init's word that the process has ended.
    pub(crate) fn step_ended(&self, container: &str, step: u64, code: u8) {
        let ended = Record::StepEnded {
            at_ns: now_ns(),
            step,
            duration_ns: 0,
            end: End::Code(code),
            cancelled: false,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta { cpu_ns: Some(1_000_000), ..CgroupDelta::default() },
        };
        self.record(container, &ended);
    }

    /// The hook's word on a call that began then and ended now.
    pub(crate) fn called(&self, phase: Phase, name: Option<&str>, since_ns: u64, code: u8) {
        self.record(HOOK, &call(phase, name, since_ns, code));
    }
}

/// A call of the hook that began then and ended now.
pub(crate) fn call(phase: Phase, name: Option<&str>, since_ns: u64, code: u8) -> Record {
    Record::HookPhase {
        at_ns: since_ns,
        phase,
        duration_ns: now_ns() - since_ns,
        success: code == 0,
        container: None,
        name: name.map(str::to_owned),
        display_name: None,
        traceparent: None,
        exit_code: Some(code),
    }
}

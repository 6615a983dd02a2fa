//! The scenarios again, on cgroup v2: the same code in a virtual machine.

use std::time::Duration;

use crate::support::parts::{Part, all_there, alone, in_vm};
use crate::support::{programs, vm};

/// Two minutes each on an idle machine; software emulation suffers much from company.
const LIMIT: Duration = Duration::from_mins(35);

#[test]
fn every_scenario_holds_on_cgroup_v2_too() {
    in_a_machine(&["containers::", "churn::", "limits::"]);
}

/// What differs there: who is killed for want of memory, and where init reads what a step used.
#[test]
fn jobs_in_pods_hold_on_cgroup_v2_too() {
    if !in_vm() {
        programs::built();
    }
    in_a_machine(&["hook_in_pods::memory::", "hook_in_pods::images::a_whole_job"]);
}

fn in_a_machine(filters: &[&str]) {
    let parts = [Part::Program("virtme-run"), Part::Program("qemu-system-x86_64"), Part::Kernel];
    if in_vm() || !all_there(&parts) {
        return;
    }
    let _alone = alone();
    let report = vm::run(filters, LIMIT);
    eprintln!("{}", report.output);
    assert_eq!(report.code, Some(0), "the tests in the virtual machine failed");
    assert!(report.output.contains("test result: ok."), "no test ran");
}

//! The scenarios again, on cgroup v2: the same code in a virtual machine.

use std::time::Duration;

use crate::support::parts::{Part, all_there, alone, in_vm};
use crate::support::{programs, vm};

/// Two minutes each on an idle machine; software emulation suffers much from company.
const LIMIT: Duration = Duration::from_mins(35);

#[test]
fn every_scenario_holds_on_cgroup_v2_too() {
    let parts = [Part::Program("virtme-run"), Part::Program("qemu-system-x86_64"), Part::Kernel];
    if in_vm() || !all_there(&parts) {
        return;
    }
    programs::built();
    let of_pods = ["hook_in_pods::memory::", "hook_in_pods::images::a_whole_job"];
    let _alone = alone();
    let report = vm::run(&["containers::", "churn::", "limits::", of_pods[0], of_pods[1]], LIMIT);
    eprintln!("{}", report.output);
    assert_eq!(report.code, Some(0), "the tests in the virtual machine failed");
    assert!(report.output.contains("test result: ok."), "no test ran");
}

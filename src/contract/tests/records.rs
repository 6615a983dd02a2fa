//! Records of the journal are parsed as they were written.

use proptest::{option, prelude::*};

use super::super::*;
use super::{delta, end, flag, kind, n32, n64, process_usage, text};

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (n64(), text(), n32(), n32()).prop_map(|(at_ns, container, pid, uid)| {
            Record::ContainerStarted { at_ns, container, pid, uid }
        }),
        (n64(), n64(), text(), kind(), option::of(text()), option::of(n64()), n32()).prop_map(
            |(at_ns, step, name, kind, id, called_ns, pid)| {
                Record::StepStarted { at_ns, step, name, kind, id, called_ns, pid }
            }
        ),
        (n64(), n64(), n64(), end(), flag(), process_usage(), delta()).prop_map(
            |(at_ns, step, duration_ns, end, cancelled, process, cgroup)| {
                Record::StepEnded { at_ns, step, duration_ns, end, cancelled, process, cgroup }
            }
        ),
        (n64(), any::<u8>(), n64()).prop_map(|(at_ns, exit_code, dropped)| {
            Record::ContainerEnded { at_ns, exit_code, dropped }
        }),
        (n64(), n64(), flag(), option::of(text()), option::of(any::<u8>())).prop_map(
            |(at_ns, duration_ns, success, name, exit_code)| Record::HookPhase {
                at_ns,
                phase: Phase::RunScriptStep,
                duration_ns,
                success,
                container: name.clone(),
                display_name: None,
                traceparent: None,
                name,
                exit_code,
            }
        ),
        (n64(), text(), text(), option::of(n64())).prop_map(
            |(at_ns, container, image, running_at_ns)| {
                Record::HookLaunched { at_ns, container, image, running_at_ns }
            }
        ),
    ]
}

proptest! {
    #[test]
    fn records_come_out_as_they_went_in(record in record()) {
        let line = record.to_line().expect("short");
        prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        prop_assert_eq!(Record::from_line(&line), Some(record));
    }
}

#[test]
fn records_read_by_their_names() {
    let record = Record::StepEnded {
        at_ns: 1,
        step: 2,
        duration_ns: 3,
        end: End::Code(4),
        cancelled: false,
        process: ProcessUsage { user_us: 5, system_us: 6, max_rss_bytes: 7 },
        cgroup: CgroupDelta { cpu_ns: Some(8), ..CgroupDelta::default() },
    };
    let line = String::from_utf8(record.to_line().expect("short")).expect("utf-8");
    assert_eq!(
        line,
        "{\"record\":\"step_ended\",\"at_ns\":1,\"step\":2,\"duration_ns\":3,\"end\":{\"code\":4},\
         \"cancelled\":false,\"process\":{\"user_us\":5,\"system_us\":6,\"max_rss_bytes\":7},\
         \"cgroup\":{\"cpu_ns\":8}}\n"
    );
}

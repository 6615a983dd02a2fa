//! The capture thread's priority: a final reading is taken within milliseconds after the end, or is
//! lost.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::setpriority_process;
use rustix::thread::{CapabilitySet, capabilities};
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{Error, ThreadPriority, ThreadPriorityValue};

/// The highest priority of a thread without real-time scheduling.
const HIGHEST_NICE: i32 = -20;
/// All user ids, one to one: the initial user namespace's `uid_map`.
const INITIAL_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// The priority that the thread has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    /// The lowest real-time priority: above every normal thread, below everything urgent.
    RealTime,
    /// No real-time priority, but the highest normal one.
    Nice(Reason),
    /// The priority with which it was started.
    Normal(Reason),
}

/// Reason the kernel refuses real-time priority (`user_check_sched_setscheduler` and
/// `__sched_setscheduler` in kernel/sched/syscalls.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Reason {
    /// The capability is missing.
    #[error(
        "the process has no CAP_SYS_NICE. Grant it for more exact final readings on a busy node"
    )]
    Capability,
    /// The capability is valid only in the pod's own user namespace.
    #[error(
        "CAP_SYS_NICE in a user namespace has no effect. Run the agent with hostUsers: true for \
         more exact final readings on a busy node"
    )]
    UserNamespace,
    /// The task group has no real-time runtime.
    #[error(
        "CAP_SYS_NICE is granted, but the kernel still refuses. With CONFIG_RT_GROUP_SCHED a cgroup \
         needs real-time runtime of its own (cpu.rt_runtime_us of cgroup v1), which container \
         runtimes do not set. Boot the node with rt_group_sched=0 (Linux 6.16 or newer) for \
         real-time priority"
    )]
    RealTimeGroup,
    /// Another error.
    #[error("{0}")]
    Other(Errno),
}

/// Raises the calling thread's priority as far as the kernel allows, and logs the result. Without
/// real-time priority more final readings are derived from the pod's counters on a busy node.
pub(super) fn raise() {
    match raise_by(real_time) {
        Priority::RealTime => tracing::info!("the capture thread runs at real-time priority"),
        Priority::Nice(why) => tracing::info!(
            "the capture thread runs at nice {HIGHEST_NICE}, without real-time priority: {why}"
        ),
        Priority::Normal(why) => tracing::info!(
            "the capture thread runs at normal priority, without real-time priority: {why}"
        ),
    }
}

/// Whether the kernel would give the capture thread real-time priority; tried by a thread that ends.
///
/// # Errors
/// The reason for the refusal, as the agent logs it, and the remedy.
pub fn real_time_is_allowed() -> Result<(), String> {
    let tried = std::thread::scope(|scope| {
        scope.spawn(|| real_time().map_err(|error| reason(error).to_string())).join()
    });
    tried.unwrap_or_else(|_| Err("it cannot be tried".to_owned()))
}

fn raise_by(real_time: impl FnOnce() -> Result<(), Errno>) -> Priority {
    let Err(error) = real_time() else { return Priority::RealTime };
    let why = reason(error);
    // For the calling thread only: on Linux the value belongs to the thread, although the call is
    // named after the process.
    match setpriority_process(None, HIGHEST_NICE) {
        Ok(()) => Priority::Nice(why),
        Err(_) => Priority::Normal(why),
    }
}

/// Sets the lowest real-time priority for the calling thread.
fn real_time() -> Result<(), Errno> {
    let lowest = ThreadPriorityValue::try_from(1).map_err(|_| Errno::INVAL)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let id = thread_native_id();
    let set = set_thread_priority_and_policy(id, ThreadPriority::Crossplatform(lowest), policy);
    set.map_err(|error| match error {
        Error::OS(number) => Errno::from_raw_os_error(number),
        _ => Errno::INVAL,
    })
}

/// Why this thread was refused.
fn reason(error: Errno) -> Reason {
    let granted =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE));
    why(error, granted, fs::read_to_string("/proc/self/uid_map"))
}

/// `granted`: whether the thread has `CAP_SYS_NICE`.
fn why(error: Errno, granted: bool, uid_map: io::Result<String>) -> Reason {
    let is_initial = |map: String| map.split_whitespace().eq(INITIAL_MAP);
    match (error, granted) {
        (Errno::PERM, false) => Reason::Capability,
        (Errno::PERM, true) if uid_map.is_ok_and(is_initial) => Reason::RealTimeGroup,
        (Errno::PERM, true) => Reason::UserNamespace,
        _ => Reason::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;
    use rustix::thread::set_capabilities;

    use super::*;

    fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn a_refusal_is_told_by_its_true_reason() {
        let initial = || Ok("         0          0 4294967295\n".to_owned());
        let of_a_pod = Ok("         0     327680      65536\n".to_owned());
        assert_eq!(why(Errno::PERM, false, initial()), Reason::Capability);
        assert_eq!(why(Errno::PERM, true, initial()), Reason::RealTimeGroup);
        assert_eq!(why(Errno::PERM, true, of_a_pod), Reason::UserNamespace);
        assert_eq!(why(Errno::INVAL, true, initial()), Reason::Other(Errno::INVAL));
        assert!(!Reason::RealTimeGroup.to_string().contains("Grant"));
    }

    #[test]
    fn where_real_time_is_refused_the_thread_has_the_highest_nice_value() {
        let (held, nice) =
            apart(|| (raise_by(|| Err(Errno::PERM)), getpriority_process(None).unwrap()));
        match held {
            // RLIMIT_NICE allows it even without the capability.
            Priority::Nice(Reason::RealTimeGroup | Reason::UserNamespace | Reason::Capability) => {
                assert_eq!(nice, HIGHEST_NICE);
            }
            Priority::Normal(Reason::Capability | Reason::UserNamespace) => {
                assert_ne!(nice, HIGHEST_NICE);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_the_capability_the_capability_is_the_reason() {
        let held = apart(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            raise_by(real_time)
        });
        match held {
            Priority::Nice(why) | Priority::Normal(why) => assert_eq!(why, Reason::Capability),
            // RLIMIT_RTPRIO allows it.
            Priority::RealTime => {}
        }
    }
}

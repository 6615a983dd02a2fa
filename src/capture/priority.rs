//! The capture thread's priority: a final is read within milliseconds of a death or not at all.

use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Asks for the lowest real-time priority: above every normal thread, below all that is urgent.
/// Without `CAP_SYS_NICE` the thread stays normal, and more finals come from the pod's counters.
pub(super) fn raise() {
    let Ok(lowest) = ThreadPriorityValue::try_from(1) else {
        return;
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let id = thread_native_id();
    match set_thread_priority_and_policy(id, ThreadPriority::Crossplatform(lowest), policy) {
        Ok(()) => tracing::debug!("the capture thread runs at real-time priority"),
        Err(error) => tracing::info!(
            "no real-time priority for the capture thread ({error}): grant CAP_SYS_NICE for more \
             exact finals on a busy node"
        ),
    }
}

//! `hook.js`, which the runner starts and signals: a hook whose starter was killed is told by nobody
//! that its step was cancelled, so the kernel tells it.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The starter's process id, as it says itself. Only a starter that forks from its main thread may
/// say so: the kernel tells of the end of the thread.
const STARTER: &str = "EPHEMON_HOOK_STARTER";

/// The starter ended before it could be followed.
#[derive(Debug, thiserror::Error)]
#[error("the process that started the hook is gone: the call was given up")]
pub(super) struct Gone;

/// Has the kernel send SIGTERM, which cancels the call, when the starter ends. Does nothing in a
/// process that has none.
pub(super) fn end_with_it() -> Result<(), Gone> {
    let Ok(pid) = std::env::var(STARTER) else { return Ok(()) };
    let Some(starter) = pid.parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    // Where the kernel does not do it, the runner's own kill of the whole tree has to do.
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
    if getppid() == Some(starter) { Ok(()) } else { Err(Gone) }
}

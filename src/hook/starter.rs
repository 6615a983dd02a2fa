//! `hook.js`, which the runner starts and signals: if it is killed, it cannot pass on that the step
//! was cancelled, so the kernel signals the hook instead.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The starter's process id, set by itself. Only a starter that forks from its main thread may set
/// it, because the kernel's signal is bound to the end of the thread.
const STARTER: &str = "EPHEMON_HOOK_STARTER";

/// The starter ended before it could be observed.
#[derive(Debug, thiserror::Error)]
#[error("the process that started the hook has exited; the call is abandoned")]
pub(super) struct Gone;

/// Requests SIGTERM, which cancels the call, for when the starter ends. Does nothing without a
/// starter.
pub(super) fn cancel_when_it_ends() -> Result<(), Gone> {
    let Ok(pid) = std::env::var(STARTER) else { return Ok(()) };
    let Some(starter) = pid.parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    // If the kernel cannot do it, only the runner's own kill of the process tree remains.
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
    if getppid() == Some(starter) { Ok(()) } else { Err(Gone) }
}

//! What a container's life is told, and what it asks for.

use std::time::{Instant, SystemTime};

use ephemon_model::Ended;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its files were opened: its cgroup was seen for the first time, or its pod is wanted again.
    Opened,
    /// The kernel reports a change of `cgroup.events`.
    Changed,
    /// The process that was watched has ended.
    ExitWatchFired,
    /// The time of the last [`Action::Wait`] has come.
    Due,
    /// Its directory is gone.
    Removed,
    /// Result of [`Action::AskVerdict`]: whether its pod is wanted.
    Verdict(bool),
    /// Result of [`Action::Look`]: whether it has processes; `None` where the kernel does not say,
    /// which it does not of a group that is about to be removed.
    Looked(Option<bool>),
    /// Result of [`Action::ReadCpu`], nanoseconds.
    CpuRead(Option<u64>),
    /// Result of [`Action::ReadFinal`]: when it was read, or `None` of a group that is gone.
    FinalRead(Option<SystemTime>),
    /// Result of [`Action::Unsettle`].
    Unsettled,
    /// Result of [`Action::WatchExit`]: whether a process is watched.
    ExitWatched(bool),
    /// Result of [`Action::Sample`]: whether anything could be read.
    Sampled(bool),
    /// Result of [`Action::AskSandbox`].
    IsSandbox(bool),
    /// Result of [`Action::AskNested`]: whether a group below it has processes.
    Nested(bool),
    /// Result of every other action.
    Done,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask the inventory whether the pod is wanted.
    AskVerdict,
    /// See whether the group has processes.
    Look,
    /// Read the CPU time alone.
    ReadCpu,
    /// Read everything after the last process was gone, and let go of the exit watch.
    ReadFinal,
    /// Take its end out of the pod's accounting: it has a process again.
    Unsettle,
    /// Watch one of its processes for its exit.
    WatchExit,
    /// Read what a living container shows.
    Sample,
    /// See whether it is the pod's sandbox.
    AskSandbox,
    /// It is the sandbox: keep its values out of the readings.
    HideSandbox,
    /// Enter its values into the readings.
    Show,
    /// See whether groups below it have processes.
    AskNested,
    /// It is over though its directory is there: enter its end into the readings.
    ReportEnd(Ended),
    /// Its pod is not wanted: close its files and forget its values.
    Close,
    /// Its pod is wanted after all: open the files of all containers of the pod.
    OpenPod,
    /// Do nothing until then, unless something happens before.
    Wait(Instant),
    /// It is gone. Its final reading stands, but for what the pod's counters show beyond it.
    SettleExact(Ended),
    /// It is gone, and its final reading was missed: the pod's counters tell what it used.
    SettleMissed,
    /// It is gone, and there is nothing to be told of it.
    Forget,
}

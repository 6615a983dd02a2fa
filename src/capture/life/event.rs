//! The events of a container's life, and the actions that it requests.

use std::time::{Instant, SystemTime};

use ephemon_model::Ended;

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its files were opened: it has a place now.
    Opened,
    /// Its pod is not selected, and a container of one that is needs its place.
    Displaced,
    /// The kernel reports a change of `cgroup.events`.
    Changed,
    /// The watched process has ended.
    ExitWatchFired,
    /// The time of the last [`Action::Wait`] has come.
    Due,
    /// Its directory was removed.
    Removed,
    /// Result of [`Action::AskVerdict`]: whether its pod is selected.
    Verdict(bool),
    /// Result of [`Action::Look`]: whether it has processes; `None` if the kernel does not say, as
    /// for a group that is being removed.
    Looked(Option<bool>),
    /// Result of [`Action::ReadCpu`], nanoseconds.
    CpuRead(Option<u64>),
    /// Result of [`Action::AskVacant`]: whether nothing of the container is in its group. If its
    /// processes were found in another one, [`Event::Opened`] is the result.
    IsVacant(bool),
    /// Result of [`Action::ReadFinal`]: when it was read, or `None` if the group was removed.
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

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask the inventory whether the pod is selected.
    AskVerdict,
    /// Check whether the group has processes.
    Look,
    /// Read only the CPU time.
    ReadCpu,
    /// No process has been in it for longer than a start takes: find out where they are.
    AskVacant,
    /// Read everything after the last process has ended, and drop the exit watch.
    ReadFinal,
    /// Remove its end from the pod's accounting: it has a process again.
    Unsettle,
    /// Watch one of its processes for its exit.
    WatchExit,
    /// Read the values of a running container.
    Sample,
    /// Check whether it is the pod's sandbox.
    AskSandbox,
    /// It is the sandbox: keep its values out of the readings.
    HideSandbox,
    /// Enter its values into the readings.
    Show,
    /// Check whether child groups have processes.
    AskNested,
    /// It has ended although its directory exists: enter its end into the readings.
    ReportEnd(Ended),
    /// Its pod is not selected: close its files, leave its place and forget its values. An end that
    /// was reported is removed from the pod's accounting, because it counts as living again.
    Close {
        /// Whether its end is in the readings.
        was_reported: bool,
    },
    /// Its pod is selected: open the files of the pod's containers, as far as there are places.
    OpenPod,
    /// Do nothing until then, unless an event occurs before.
    Wait(Instant),
    /// It was removed. Its final reading is valid, except for what the pod's counters show in
    /// addition.
    SettleExact(Ended),
    /// It was removed, and its final reading was missed: derive its usage from the pod's counters.
    SettleMissed,
    /// It was removed, and there is nothing to report.
    Forget,
}

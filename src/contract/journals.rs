//! What the journals of a job say: the hook's of its calls and of the containers that it asked for, an
//! init's of its container and of its steps. Pure.
//!
//! Each speaks for itself: a record of init's in the hook's journal says nothing, nor does one of the
//! hook's in a container's. Of two records about one thing the first counts, because a job can append to
//! its journals.

use std::collections::{BTreeMap, HashSet};

use super::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};

/// The hook's journal. `T` is what its reader knows of a record, such as when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookJournal<'a, T> {
    /// Its calls that are over, in the order of their records.
    pub calls: Vec<(T, Call<'a>)>,
    /// The containers that it asked for, in this order.
    pub launched: Vec<(T, Launched<'a>)>,
    /// The pulls of their images.
    pub pulled: Vec<(T, Pulled<'a>)>,
}

/// A call of the hook that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The command.
    pub phase: Phase,
    /// When it began, nanoseconds since 1970.
    pub at_ns: u64,
    /// How long it took, nanoseconds.
    pub duration_ns: u64,
    /// Whether it succeeded.
    pub success: bool,
    /// The container that it used.
    pub container: Option<&'a str>,
    /// The step's id.
    pub name: Option<&'a str>,
    /// The step's name as GitHub shows it.
    pub display_name: Option<&'a str>,
    /// Exit code of the step.
    pub exit_code: Option<u8>,
}

/// A container that the hook asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched<'a> {
    /// When, nanoseconds since 1970.
    pub at_ns: u64,
    /// Its name.
    pub container: &'a str,
}

/// The pull of a container's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled<'a> {
    /// When the kubelet reported it, nanoseconds since 1970, rounded down to a full second.
    pub at_ns: u64,
    /// The container's name.
    pub container: &'a str,
    /// How long it took, nanoseconds.
    pub duration_ns: u64,
    /// The image's size.
    pub bytes: Option<u64>,
}

/// The journal of a container's init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitJournal<'a, T> {
    /// When it started, nanoseconds since 1970.
    pub started: Option<(T, u64)>,
    /// When it ended, and its exit code.
    pub ended: Option<(T, u64, u8)>,
    /// Its steps by their numbers.
    pub steps: BTreeMap<u64, Ran<'a, T>>,
}

/// A step's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran<'a, T> {
    /// Its beginning.
    pub started: Option<(T, Started<'a>)>,
    /// Its end.
    pub ended: Option<(T, Ended<'a>)>,
}

/// The beginning of a step's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started<'a> {
    /// When, nanoseconds since 1970.
    pub at_ns: u64,
    /// The step's name.
    pub name: &'a str,
    /// Its kind.
    pub kind: StepKind,
    /// The step's id.
    pub id: Option<&'a str>,
    /// When the hook's call for it began, nanoseconds since 1970.
    pub called_ns: Option<u64>,
}

/// The end of a step's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended<'a> {
    /// When, nanoseconds since 1970.
    pub at_ns: u64,
    /// How long it took, nanoseconds.
    pub duration_ns: u64,
    /// How it ended.
    pub end: End,
    /// Whether init ended it.
    pub cancelled: bool,
    /// What its processes used.
    pub process: &'a ProcessUsage,
    /// What the container's cgroup counted meanwhile.
    pub cgroup: &'a CgroupDelta,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepResult {
    /// Well, with this exit code.
    Success(Option<u8>),
    /// Its own command failed, with this exit code.
    Failure(u8),
    /// Somebody ended it, and its exit code was this one.
    Cancelled(u8),
    /// The hook failed.
    Error,
}

// === impl HookJournal ===

impl<'a, T> HookJournal<'a, T> {
    /// Reads records in their order.
    pub fn read(records: impl IntoIterator<Item = (T, &'a Record)>) -> Self {
        let mut journal = Self { calls: Vec::new(), launched: Vec::new(), pulled: Vec::new() };
        let (mut calls, mut launched, mut pulled) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for (known, record) in records {
            match record {
                Record::HookPhase { .. } => {
                    let Some(call) = Call::of(record) else { continue };
                    if calls.insert((call.phase.as_str(), call.at_ns, call.name)) {
                        journal.calls.push((known, call));
                    }
                }
                Record::HookLaunched { at_ns, container, .. } => {
                    if launched.insert(container) {
                        journal.launched.push((known, Launched { at_ns: *at_ns, container }));
                    }
                }
                Record::ImagePulled { at_ns, container, duration_ns, bytes } => {
                    if pulled.insert(container) {
                        let (at_ns, duration_ns, bytes) = (*at_ns, *duration_ns, *bytes);
                        journal
                            .pulled
                            .push((known, Pulled { at_ns, container, duration_ns, bytes }));
                    }
                }
                Record::ContainerStarted { .. }
                | Record::StepStarted { .. }
                | Record::StepEnded { .. }
                | Record::ContainerEnded { .. } => {}
            }
        }
        journal
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Of a record about a call.
    fn of(record: &'a Record) -> Option<Self> {
        let Record::HookPhase {
            at_ns,
            phase,
            duration_ns,
            success,
            container,
            name,
            display_name,
            traceparent: _,
            exit_code,
        } = record
        else {
            return None;
        };
        Some(Self {
            phase: *phase,
            at_ns: *at_ns,
            duration_ns: *duration_ns,
            success: *success,
            container: container.as_deref(),
            name: name.as_deref(),
            display_name: display_name.as_deref(),
            exit_code: *exit_code,
        })
    }

    /// When it ended, nanoseconds since 1970.
    pub fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.duration_ns)
    }
}

// === impl InitJournal ===

impl<'a, T> InitJournal<'a, T> {
    /// Reads records in their order.
    pub fn read(records: impl IntoIterator<Item = (T, &'a Record)>) -> Self {
        let mut journal = Self { started: None, ended: None, steps: BTreeMap::new() };
        for (known, record) in records {
            match record {
                Record::ContainerStarted { at_ns, .. } => {
                    journal.started.get_or_insert((known, *at_ns));
                }
                Record::ContainerEnded { at_ns, exit_code, .. } => {
                    journal.ended.get_or_insert((known, *at_ns, *exit_code));
                }
                Record::StepStarted { at_ns, step, name, kind, id, called_ns, pid: _ } => {
                    let (at_ns, kind, called_ns) = (*at_ns, *kind, *called_ns);
                    let started = Started { at_ns, name, kind, id: id.as_deref(), called_ns };
                    journal.step(*step).started.get_or_insert((known, started));
                }
                Record::StepEnded { at_ns, step, duration_ns, end, cancelled, process, cgroup } => {
                    let (at_ns, duration_ns) = (*at_ns, *duration_ns);
                    let (end, cancelled) = (*end, *cancelled);
                    let ended = Ended { at_ns, duration_ns, end, cancelled, process, cgroup };
                    journal.step(*step).ended.get_or_insert((known, ended));
                }
                Record::HookPhase { .. }
                | Record::HookLaunched { .. }
                | Record::ImagePulled { .. } => {}
            }
        }
        journal
    }

    fn step(&mut self, number: u64) -> &mut Ran<'a, T> {
        self.steps.entry(number).or_insert(Ran { started: None, ended: None })
    }
}

// === impl StepResult ===

impl StepResult {
    /// By what init says of its process's end and whether it ended it, or else by what the hook's call
    /// says: its exit code, and whether it succeeded.
    pub fn of(ended: Option<(End, bool)>, exit_code: Option<u8>, success: bool) -> Self {
        let of_code = |code| if code == 0 { Self::Success(Some(0)) } else { Self::Failure(code) };
        match (ended, exit_code) {
            (Some((end, true)), _) => Self::Cancelled(end.exit_code()),
            // The call failed after it: the runner has been told of a failure.
            (Some((End::Code(0), false)), Some(code @ 1..)) => Self::Failure(code),
            (Some((end, false)), _) => of_code(end.exit_code()),
            // SIGINT and SIGTERM, as a shell reports them.
            (None, Some(code @ (130 | 143))) => Self::Cancelled(code),
            (None, Some(code)) => of_code(code),
            (None, None) if success => Self::Success(None),
            (None, None) => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests;

//! From evidence to one record per job.
//!
//! A `dossier` holds what node, API, journals and the runner's log say of one pod, in any order;
//! `assemble` makes a [`Job`] of it: `written` is what the journals say, `containers` and `steps`
//! give each part its time and its end, `assay` holds the journals' figures against the kernel's.
//! All of that is pure. The [`Assembler`] follows many pods over time and says when a job, or a part
//! of one, is to be sent; what must outlive the agent is its [`Memory`]. `sighter` joins inventory
//! and capture for it, `tally` counts jobs for the metrics, the `board` shows the counts, and `saved`
//! keeps both on disk. The `cabinet` keeps the evidence of jobs under way there, `filed` line by line,
//! for an agent that is started anew.

mod assay;
mod assemble;
mod assembler;
mod board;
mod cabinet;
mod containers;
mod dossier;
mod evidence;
mod filed;
mod identity;
mod job;
mod memory;
pub mod runner;
mod saved;
mod sighter;
mod steps;
#[cfg(any(test, feature = "story"))]
pub mod story;
pub mod tally;
mod time;
mod written;

pub use assembler::{Assembler, Dispatch, MAX_JOBS, Options, Sight, TraceMode, Turn, Which};
pub use assembler::{MAX_EVIDENCE_BYTES, MAX_PARTS_A_TURN};
pub use board::{Board, Shown};
pub use cabinet::MAX_OWED_BYTES;
pub use cabinet::{Cabinet, CabinetError};
pub use dossier::{Dossier, MAX_CONTAINERS, MAX_RECORDS};
pub use dossier::{MAX_FACT_BYTES, MAX_RECORD_BYTES};
pub use evidence::{Evidence, Heard, Reading, Sighted};
pub use identity::Identity;
pub use job::{
    Container, Fault, Figures, Job, JobResult, Judge, LogCount, Outcome, Phase, Proof, Pull, Role,
    Step,
};
pub use memory::Memory;
pub use saved::{SaveError, Saved};
pub use sighter::sights;
pub use time::{Source, Stamp, Window};

#[cfg(test)]
mod tests;

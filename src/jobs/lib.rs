//! From evidence to one record per job.
//!
//! `job_evidence` holds what node, API, journals and the runner's log say of one pod, in any order;
//! `assemble` makes a [`Job`] of it: `written` is what the journals say, `containers` and `steps`
//! give each part its time and its end, `reconcile` holds the journals' values against the kernel's.
//! Where no journal tells of steps, `runner_step` reads the runner's log for them and `derived_steps`
//! says what each used.
//! All of that is pure. The [`Assembler`] follows many pods over time and says when a job, or a part
//! of one, is to be sent; what must outlive the agent is its [`Memory`]. `snapshot_joiner` joins
//! inventory and capture for it, `tally` counts jobs for the metrics, `jobs_view` shows the counts, and
//! `saved` keeps both on disk. `evidence_store` keeps the evidence of jobs under way there, each piece
//! as a line of `stored_evidence`, for an agent that starts again.

mod assemble;
mod assembler;
mod ci_pod;
mod ci_steps;
mod containers;
mod derived_steps;
mod evidence;
mod evidence_store;
mod figures;
mod identity;
mod job;
mod job_evidence;
mod job_result;
mod jobs_view;
mod members;
mod memory;
mod outcome;
mod reconcile;
mod records;
pub mod runner;
mod runner_end;
mod runner_pod;
mod runner_step;
mod saved;
mod snapshot_joiner;
mod step_log;
mod steps;
mod stored_ci;
mod stored_evidence;
mod stored_step;
#[cfg(any(test, feature = "story"))]
pub mod story;
pub mod tally;
mod time;
mod totals;
mod written;

pub use assembler::{Assembler, Dispatch, MAX_JOBS, Options, PodSnapshot, TraceMode, Turn, Which};
pub use assembler::{MAX_EVIDENCE_BYTES, MAX_PARTS_A_TURN};
pub use evidence::{Evidence, Heard, Reading, Sighted, StepLine, StepReading};
pub use evidence_store::MAX_OWED_BYTES;
pub use evidence_store::{EvidenceStore, EvidenceStoreError};
pub use figures::Figures;
pub use identity::Identity;
pub use job::{Container, Job, LogCount, Phase, Proof, Pull, Role, RunnerStart, Step};
pub use job::{StepSource, Totals};
pub use job_evidence::{JobEvidence, MAX_CONTAINERS, MAX_FACT_BYTES};
pub use jobs_view::{JobsView, Shown};
pub use memory::Memory;
pub use outcome::{Fault, JobResult, Outcome, ResultSource};
pub use records::{MAX_RECORD_BYTES, MAX_RECORDS};
pub use runner_step::{MAX_STEP_LINE_BYTES, StepEvent};
pub use saved::{SaveError, Saved};
pub use snapshot_joiner::{figures, snapshots};
pub use step_log::{MAX_STEP_BYTES, MAX_STEP_LINES};
pub use time::{Source, Stamp, Window};

#[cfg(test)]
mod tests;

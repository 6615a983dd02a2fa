//! Turns cgroup files into values with a quality.
//!
//! `reader` is the one thread that keeps cgroup files open. It waits for the kernel's events
//! (`ephemon_discovery::cgroups`, exit watches) and for timers, and passes each event to a
//! container's `life`, a pure state machine that returns the next action. The reader's `driver`
//! performs it, with the open files of `container` and `pod`, and passes the result back.
//! `population` knows the containers, their timers and which have a place, `cadence` how often to sample. The values go
//! into the [`readings`]; what a final reading missed is computed in the pod's `ledger`, from the
//! `additive` values; for nested containers, in that of their `engines_directories`, and `beside` adds up
//! what they use outside the pod, with what `monitors` of theirs use. A `spot` reading is one that is asked for, at a moment between the samples.

mod additive;
mod beside;
mod cadence;
mod container;
mod engines_directories;
mod exit_watch;
mod ledger;
mod life;
mod look;
mod monitors;
mod nested;
mod pod;
mod population;
mod priority;
mod reader;
pub mod readings;
mod spot;

pub use look::{Found, look};
pub use monitors::MONITORS_BYTES;
pub use population::{MAX_NESTED, WAITING_BYTES};
pub use priority::real_time_is_allowed;
pub use reader::{CaptureHandle, MISSED_BYTES, Options, StartError, start};
pub use spot::SpotReader;

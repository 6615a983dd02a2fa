//! From cgroup files to figures with a quality.
//!
//! `reader` is the one thread that owns every kept file. It waits for what the kernel reports
//! (`ephemon_discovery::cgroups`, exit watches) and for timers, and hands each event to a container's
//! `life`: a pure state machine that says what is to be done. The reader's `driver` does that, with the
//! kept files of `container` and `pod`, and hands the result back. `population` knows who is there and
//! whose timer is due, `cadence` how often to sample. What is read goes into the [`readings`]; what a final
//! reading missed is found in the pod's `ledger`, where the `additive` figures must balance.

mod additive;
mod cadence;
mod container;
mod exit_watch;
mod ledger;
mod life;
mod look;
mod pod;
mod population;
mod priority;
mod reader;
pub mod readings;

pub use look::{Found, look};
pub use reader::{CaptureHandle, Options, StartError, start};

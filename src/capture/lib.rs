//! From cgroup files to figures with a quality.
//!
//! `reader` is the one thread that owns every kept file: it hears of births and deaths
//! (`ephemon_discovery::cgroups`), samples by `cadence`, is told of ends by an `alarm`, and enters what it
//! read into the [`books`]. A `living` container becomes a record with an end; what its final
//! reading missed is found in its `pod`'s `ledger`, where the `additive` figures must balance.

mod additive;
mod alarm;
pub mod books;
mod cadence;
mod ledger;
mod living;
mod pod;
mod priority;
mod reader;

pub use reader::{CaptureHandle, Options, StartError, start};

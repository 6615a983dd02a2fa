//! The agent: arguments, wiring and supervision, admin HTTP.

pub mod admin;
mod args;
pub mod budget;
mod duration;
mod export;
mod feeders;
mod jobs;
mod limits;
mod lock;
mod log;
mod otlp_metrics;
pub mod readiness;
mod run;
mod shared;

pub use args::Args;
pub use export::{ExportArgs, ExportError, Place};
pub use log::{LogArgs, LogFormat};
pub use run::{Error, run};

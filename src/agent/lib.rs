//! The agent: arguments, wiring and supervision, admin HTTP.

pub mod admin;
mod args;
pub mod budget;
pub mod cli;
mod duration;
mod error;
mod export;
mod feeders;
mod install;
mod jobs;
mod limits;
mod lock;
mod log;
mod otlp_metrics;
pub mod readiness;
mod run;
mod settings;
mod shared;

pub use args::Args;
pub use error::Error;
pub use export::{ExportArgs, Place};
pub use log::{LogArgs, LogFormat};
pub use run::run;

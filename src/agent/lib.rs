//! The agent: arguments, wiring and supervision, admin HTTP, and what operators look into it with.

pub mod admin;
mod args;
pub mod budget;
mod check;
pub mod cli;
mod config_file;
mod control;
mod debug_audit;
mod duration;
mod error;
mod export;
mod feeders;
mod install;
mod jobs;
mod kubelet_root;
mod limits;
mod lock;
mod log;
mod log_level;
mod metric_settings;
mod otlp_metrics;
mod page;
pub mod readiness;
mod run;
mod settings;
mod shared;
mod state;
mod step_readings;

pub use args::Args;
pub use debug_audit::DebugScope;
pub use error::Error;
pub use export::{ExportArgs, Place};
pub use log::{LogArgs, LogFormat};
pub use page::{PageArgs, PageMode};
pub use run::run;
pub use settings::{Setting, Source};

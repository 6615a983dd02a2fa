//! The agent: arguments, wiring and supervision, admin HTTP.

pub mod admin;
mod args;
mod duration;
mod limits;
mod lock;
mod log;
pub mod readiness;

pub use args::Args;
pub use log::{LogArgs, LogFormat};

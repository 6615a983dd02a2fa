//! The agent: arguments, wiring and supervision, admin HTTP.

mod args;
mod duration;
mod limits;
mod lock;
mod log;

pub use args::Args;
pub use log::{LogArgs, LogFormat};

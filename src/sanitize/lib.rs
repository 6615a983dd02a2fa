//! Converts a line of a container's log to a record: workflow commands are executed, secrets
//! masked, colours removed. Pure: text in, a record or a reason out.
//!
//! A [`Sanitizer`] has the state of one container's output; [`Record`] and its parts are shared by
//! the OTLP encoder and the log thread.

mod ansi;
mod describe;
mod draft;
mod groups;
mod redactor;
mod sanitized;
mod sanitizer;

pub use sanitized::{Place, Record, Sanitized, Severity, Suppressed, Tally, Unproven, Withheld};
pub use sanitizer::{Options, Sanitizer};

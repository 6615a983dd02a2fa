//! What becomes of a line between a container's log and the record: workflow commands are read and
//! acted on, secrets masked, colours stripped. Pure: text in, a record or a reason out.
//!
//! A [`Sanitizer`] keeps what one container's lines have taught; [`Record`] and what is in it are the
//! words that the OTLP encoder and the log thread share.

mod ansi;
mod describe;
mod draft;
mod groups;
mod redactor;
mod sanitized;
mod sanitizer;

pub use sanitized::{Place, Record, Sanitized, Severity, Suppressed, Tally, Unproven, Withheld};
pub use sanitizer::{Options, Sanitizer};

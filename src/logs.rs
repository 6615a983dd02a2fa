//! What becomes of a line between a container's log and the record that is sent. Pure.

mod ansi;
mod cleaner;
mod describe;
mod draft;
mod groups;
pub mod refine;
mod refined;

pub use self::refined::{Place, Record, Refined, Severity, Stream, Suppressed, Tally, Withheld};

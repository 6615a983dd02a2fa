//! A job's report: what the agent's API says of a job, as one HTML file that needs nothing else, or as
//! Markdown that GitHub renders.
//!
//! A [`Record`] is read from the API's JSON. `axis` has the time of all pictures, `timeline` and
//! `curves` are what is drawn, `html` and `markdown` write. Nothing here is I/O. Every name and line is
//! hostile text: `text` makes it visible and keeps it text.

mod axis;
mod curves;
mod document;
mod figures;
mod html;
mod markdown;
mod tables;
mod text;
mod timeline;

pub use document::{Job, Log, Record, RecordError, Samples};
pub use html::html;
pub use markdown::markdown;

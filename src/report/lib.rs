//! A job's report: what the agent's API says of a job, as one HTML file that needs nothing else, or as
//! Markdown that GitHub renders.
//!
//! A [`Record`] is what `ephemon-client` has read. `axis` has the time of all pictures, `part` what is a
//! bar, `timeline` and `curves` are what is drawn, `html` and `markdown` write. Nothing here is I/O. Every
//! name and line is hostile text: `text` makes it visible and keeps it text.

mod axis;
mod curves;
mod figures;
mod html;
mod markdown;
mod part;
mod record;
mod tables;
mod text;
mod timeline;

pub use html::html;
pub use markdown::markdown;
pub use record::Record;

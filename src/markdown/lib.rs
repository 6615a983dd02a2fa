//! What reports and step summaries have in common: text that GitHub renders as text, tables and their
//! columns, timelines as mermaid diagrams, and figures as people read them. Pure.
//!
//! Names are hostile: [`escaped`] and [`Gantt`] take any text that `ephemon_base::visible` made visible.
//! Everything has a bound: GitHub shows no summary of a step that is larger than
//! [`MAX_SUMMARY_BYTES`].

mod columns;
pub mod figures;
mod gantt;
mod table;
mod text;

pub use columns::{Beginning, Used};
pub use gantt::{Bar, Gantt, State};
pub use table::{last_within, table};
pub use text::escaped;

/// The largest summary of a step of which GitHub shows anything (actions/runner,
/// `CreateStepSummaryCommand.AttachmentSizeLimit`).
pub const MAX_SUMMARY_BYTES: usize = 1 << 20;

//! The formats of Prometheus, and how long ended series are kept.
//!
//! Families are the rows of `ephemon_catalogue`; `roster` decides who is shown under which labels;
//! `retention` how long the ended stay; `exposition` turns a view into text or protobuf; `scrape` joins them.

mod debug_view;
mod devices;
mod exposition;
mod filter;
mod format;
mod label;
mod retention;
mod roster;
mod scrape;
mod view;

pub use debug_view::DebugView;
pub use devices::DeviceNames;
pub use exposition::render;
pub use filter::{Filter, Pattern, PatternError};
pub use format::Format;
pub use retention::ScraperId;
pub use scrape::MAX_TEXT_BYTES;
pub use scrape::{Metrics, Options, Receipt, Scrape};
pub use view::{ContainerView, Identity, JobView, PodView, View};

//! The families of metrics, how long ended series are kept, and the two text formats.
//!
//! `family` is the one table of names; `roster` decides who is shown under which labels;
//! `retention` how long the ended stay; `exposition` turns a view into text; `scrape` joins them.

mod devices;
mod exposition;
mod family;
mod format;
mod reference;
mod retention;
mod roster;
mod scrape;
mod view;

pub use devices::DeviceNames;
pub use exposition::render;
pub use family::{Family, Kind, Scope, Unit, families};
pub use format::Format;
pub use reference::reference_markdown;
pub use retention::ScraperId;
pub use scrape::MAX_TEXT_BYTES;
pub use scrape::{Metrics, Options, Receipt, Scrape};
pub use view::{Build, ContainerView, Identity, JobView, PodView, View};

//! The job page: what it shows of jobs as JSON, when something of it changes, and its files.
//!
//! The `board` keeps the jobs that are shown, with their parts. A request's path and query become a
//! [`Route`]; a [`Page`] answers it from the board, the history of samples and the tails of logs, in
//! the forms of `view`, which `openapi.json` describes. `cursors` say what has changed, for the stream
//! of events. `encode` writes JSON of a bounded length. `template` makes links. Nothing here is I/O, and every text is bounded.
//!
//! What is shown is what `/metrics`, spans and exported logs have too: nothing of environments or
//! arguments, and no text that was not masked.

mod asset;
mod board;
mod cursors;
mod encode;
mod host;
mod page;
mod route;
mod template;
mod view;

pub use asset::{Asset, HEADERS, Sort};
pub use board::{Board, MAX_BYTES as MAX_BOARD_BYTES};
pub use cursors::Cursors;
pub use encode::MAX_ANSWER_BYTES;
pub use host::is_address_or_localhost;
pub use page::{Answer, LogSource, MAKING_BYTES, Page, Parts};
pub use route::Route;
pub use template::{Template, TemplateError};

/// The API as `openapi.json` describes it.
pub const OPENAPI: &[u8] = include_bytes!("openapi.json");

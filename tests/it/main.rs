//! The one integration-test binary.

mod api_watch;
mod exposition;
mod metric_reference;

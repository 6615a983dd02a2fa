//! The one integration-test binary.

mod exposition;
mod metric_reference;

//! What is sent by OTLP.

mod batch;
pub mod names;
pub mod record;
pub mod source;
mod wire;

pub use self::{
    batch::Batch,
    record::Entry,
    source::{Job, Resource, Source},
};

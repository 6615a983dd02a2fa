//! What engines call the nested containers whose groups `cgroups` finds.

mod engine_files;
mod names;

pub use names::{NAMES_BYTES, NestedNames};

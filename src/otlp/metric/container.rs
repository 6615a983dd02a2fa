//! A container and its resource.

use std::sync::Arc;

use ephemon_catalogue as catalogue;

use super::owner::Owner;
use super::points::Subject;

/// A container as it was last read, or as it ended.
#[derive(Debug, Clone)]
pub struct Container {
    /// Whose points these are.
    pub owner: Arc<Owner>,
    /// What is known of it.
    pub container: catalogue::Container,
}

impl Subject for Container {
    type Read = catalogue::Container;

    fn read(&self) -> &Self::Read {
        &self.container
    }

    fn start_ns(&self) -> u64 {
        self.container.born_ns()
    }

    fn at_ns(&self) -> u64 {
        self.container.read_ns()
    }
}

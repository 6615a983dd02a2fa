//! What of a step's container is fixed when it is created, and whether a container that was created
//! ahead is what the step would have got. Pure.
//!
//! Environment, arguments, entrypoint, working directory and user by name go over init's socket. All
//! else is in the spec: image, pull policy, mounts, security context, limits, and what the
//! operator's template adds.

use std::collections::BTreeMap;

use ephemon_contract::env;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Planned;
use crate::request::Container;

/// Variables that differ from one container to the next, or say what it was made for.
const OF_ONE: [&str; 5] =
    [env::CALL, env::CONTAINER, env::CONTAINER_KEY, env::ROLE, env::TRACEPARENT];
/// Stands for any entrypoint: only whether there is one decides on the spec.
const SOME_ENTRY_POINT: &str = "entrypoint";

/// A container's spec without what differs from one container to the next. It contains no key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape(Value);

/// What of a request decides on the spec of a step's container with init.
pub(crate) fn bare(asked: &Container) -> Container {
    Container {
        environment_variables: BTreeMap::new(),
        entry_point_args: Vec::new(),
        entry_point: asked.entry_point.as_ref().map(|_| SOME_ENTRY_POINT.to_owned()),
        working_directory: None,
        ..asked.clone()
    }
}

/// The same for a step of which only the image is known, and whether it names an entrypoint.
pub(crate) fn of_image(image: &str, entry_point: bool) -> Container {
    Container {
        image: Some(image.to_owned()),
        entry_point: entry_point.then(|| SOME_ENTRY_POINT.to_owned()),
        ..Container::default()
    }
}

// === impl Planned ===

impl Planned {
    /// Its shape; `None` if it has none.
    pub(crate) fn shape(&self) -> Option<Shape> {
        let mut spec = self.spec.clone();
        spec.name.clear();
        if let Some(variables) = &mut spec.env {
            variables.retain(|variable| !OF_ONE.contains(&variable.name.as_str()));
        }
        serde_json::to_value(&spec).ok().map(Shape)
    }
}

//! Images that the hook tells of before it adds their containers: those of a job's container actions
//! (`EPHEMON_ACTION_IMAGES`). Pure.
//!
//! They are in the spec of an ephemeral container, which the API server lets nobody change, and count
//! until that container has ended, or a container has them. Of one that the runtime could not start they
//! count until another one tells. So only who can add ephemeral containers
//! can tell of images; a process of the job cannot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_contract::action_images::{MAX_ACTION_IMAGES, of_variable};
use ephemon_contract::env;
use k8s_openapi::api::core::v1::{ContainerStatus, EphemeralContainer};

use super::{TakenImage, image_name};
use crate::logs::names::is_label;

/// Most bytes of a pod's variables that are read at a change of it: twice what the hook writes at most.
const MAX_READ_BYTES: usize = 2 * MAX_ACTION_IMAGES * (image_name::MAX_BYTES + 128);

/// The kubelet's reason for a container whose process the runtime could not start (containerd,
/// `internal/cri/server/container_start.go`).
const START_ERROR: &str = "StartError";

/// What a pod's ephemeral containers tell of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Those that no container has yet, in the order in which steps use them.
    pub(super) coming: Vec<Arc<str>>,
    /// Those that a container has.
    pub(super) taken: Vec<TakenImage>,
    /// There is one that is none.
    pub(super) has_invalid: bool,
    /// There are more than are read.
    pub(super) has_more: bool,
}

// === impl Told ===

impl Told {
    pub(super) fn of(
        containers: &[EphemeralContainer],
        statuses: &HashMap<&str, &ContainerStatus>,
    ) -> Self {
        let mut told = Self::default();
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut left = MAX_READ_BYTES;
        let last = containers.iter().rposition(|container| value(container).is_some());
        let all = containers.iter().enumerate().filter(|(place, container)| {
            let ended = ended(container, statuses);
            // The hook adds one that the runtime could not start again.
            ended.is_none_or(|reason| reason == START_ERROR && Some(*place) == last)
        });
        'all: for value in all.filter_map(|(_, container)| value(container)) {
            let (value, is_whole) = first(value, left);
            left = left.saturating_sub(value.len());
            for given in of_variable(value).filter(|given| seen.insert(*given)) {
                let Some(name) = image_name::with_tag(given) else {
                    told.has_invalid = true;
                    continue;
                };
                if names.contains(&name) {
                    continue;
                }
                if names.len() >= MAX_ACTION_IMAGES {
                    told.has_more = true;
                    break 'all;
                }
                names.push(name);
            }
            if !is_whole {
                told.has_more = true;
                break;
            }
        }
        if !names.is_empty() {
            told.divide(names, containers);
        }
        told
    }

    fn divide(&mut self, names: Vec<String>, containers: &[EphemeralContainer]) {
        let asked: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut takers: HashMap<String, &str> = HashMap::new();
        for container in containers.iter().filter(|container| is_label(&container.name)) {
            let image = container.image.as_deref().and_then(image_name::with_tag);
            if let Some(image) = image.filter(|image| asked.contains(image.as_str())) {
                takers.entry(image).or_insert(&container.name);
            }
        }
        for name in names {
            match takers.get(&name) {
                Some(container) => {
                    let container = Arc::from(*container);
                    self.taken.push(TakenImage { name: name.into(), container });
                }
                None => self.coming.push(name.into()),
            }
        }
    }
}

/// The whole names in the first `most` bytes, and whether these are all.
fn first(value: &str, most: usize) -> (&str, bool) {
    if value.len() <= most {
        return (value, true);
    }
    let cut = value.get(..value.floor_char_boundary(most)).unwrap_or_default();
    (cut.rsplit_once(' ').map_or("", |(whole, _)| whole), false)
}

/// If a variable is set twice, the kubelet uses the last one.
fn value(container: &EphemeralContainer) -> Option<&str> {
    let mut variables = container.env.iter().flatten();
    variables.rfind(|variable| variable.name == env::ACTION_IMAGES)?.value.as_deref()
}

/// Why it has ended; `None` of one that has not.
fn ended<'a>(
    container: &EphemeralContainer,
    statuses: &HashMap<&str, &'a ContainerStatus>,
) -> Option<&'a str> {
    let state = statuses.get(container.name.as_str())?.state.as_ref()?;
    Some(state.terminated.as_ref()?.reason.as_deref().unwrap_or_default())
}

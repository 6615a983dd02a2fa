//! Who came for which image, and images that are given when enough of them were asked for.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A file of an image, from the request, or below `meet/` from the end of its wait for others, to its answer.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) image: String,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Visits {
    state: Mutex<Option<State>>,
    arrival: Condvar,
}

#[derive(Debug, Default)]
struct State {
    visits: Vec<Visit>,
    came: HashSet<String>,
    groups: HashMap<String, HashSet<String>>,
}

// === impl Visits ===

impl Visits {
    pub(super) const fn new() -> Self {
        Self { state: Mutex::new(None), arrival: Condvar::new() }
    }

    /// A file was given.
    pub(super) fn enter(&self, image: &str, began: Instant) {
        let visit = Visit { image: image.to_owned(), began, ended: Instant::now() };
        self.state().get_or_insert_default().visits.push(visit);
    }

    /// The files of these images, by their beginnings.
    pub(super) fn of(&self, images: &[&str]) -> Vec<Visit> {
        let state = self.state();
        let all = state.iter().flat_map(|state| &state.visits);
        let mut found: Vec<Visit> =
            all.filter(|visit| images.contains(&visit.image.as_str())).cloned().collect();
        found.sort_by_key(|visit| visit.began);
        found
    }

    /// A runtime came for `NAME/…`.
    pub(super) fn came(&self, path: &str) {
        let name = path.split('/').next().unwrap_or_default().to_owned();
        self.state().get_or_insert_default().came.insert(name);
    }

    pub(super) fn has_come(&self, name: &str) -> bool {
        self.state().as_ref().is_some_and(|state| state.came.contains(name))
    }

    /// An image of this group was asked for.
    pub(super) fn join(&self, group: &str, name: &str) {
        let mut state = self.state();
        let known = &mut state.get_or_insert_default().groups;
        known.entry(group.to_owned()).or_default().insert(name.to_owned());
        self.arrival.notify_all();
    }

    /// Waits until so many images of the group were asked for as `COUNT/GROUP/NAME/…` says; returns
    /// `GROUP-NAME/…`, for which a runtime came.
    pub(super) fn meet(&self, path: &str) -> Option<String> {
        let mut parts = path.splitn(4, '/');
        let count: usize = parts.next()?.parse().ok()?;
        let (group, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let given = format!("{group}-{name}/{rest}");
        self.came(&given);
        self.join(group, name);
        let few = |state: &mut Option<State>| {
            let known = state.as_ref().and_then(|state| state.groups.get(group));
            known.is_none_or(|names| names.len() < count)
        };
        drop(self.arrival.wait_while(self.state(), few).unwrap_or_else(PoisonError::into_inner));
        Some(given)
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

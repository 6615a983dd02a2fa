//! What is known of a job's standby containers: which wait, which are still missing, and what steps
//! are to come. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::uses::{Use, Uses};
use crate::pod_view::PodView;
use crate::spec::Shape;

/// Most steps to come that are kept.
const EXPECTED_MAX: usize = 256;
/// Most images that are expected again because they were used once.
const LEARNT_MAX: usize = 16;

/// The book of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    /// Most containers that wait at one time.
    most: usize,
    pub(super) view: PodView,
    /// Images of steps to come, in their order.
    expected: Vec<String>,
    /// Images that may come at any time: nobody says how often.
    learnt: Vec<String>,
    waiting: Vec<Waiting>,
    /// Containers that no further step takes, and that may still wait.
    given: Vec<String>,
    /// Images for which the API server accepts no container.
    refused: Vec<String>,
    /// Names that were given away.
    used: Vec<String>,
    /// The job's end has begun: no more are made.
    closed: bool,
}

/// A container that waits for a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    container: String,
    image: String,
    shape: Shape,
    /// The API server has accepted it.
    asked: bool,
}

// === impl Book ===

impl Book {
    pub(super) fn new(most: usize, view: PodView) -> Self {
        Self {
            most,
            view,
            expected: Vec::new(),
            learnt: Vec::new(),
            waiting: Vec::new(),
            given: Vec::new(),
            refused: Vec::new(),
            used: Vec::new(),
            closed: false,
        }
    }

    /// Enters what is known of the job's steps, as far as a container can stand by for it.
    pub(super) fn expect(&mut self, uses: Uses, mut is_possible: impl FnMut(&Use) -> bool) {
        let mut known: BTreeMap<Use, bool> = BTreeMap::new();
        let possible = uses.list.into_iter().filter(|one| match known.get(one) {
            Some(known) => *known,
            None => *known.entry(one.clone()).or_insert(is_possible(one)),
        });
        let images = possible.map(|one| one.image);
        if uses.is_counted {
            self.expected = images.take(EXPECTED_MAX).collect();
        } else {
            images.for_each(|image| self.learn(image));
        }
    }

    /// Gives away a container of this image and shape.
    pub(super) fn take(&mut self, image: &str, shape: &Shape) -> Option<String> {
        let fits = |one: &Waiting| one.asked && one.image == image && one.shape == *shape;
        let at = self.waiting.iter().position(fits)?;
        let taken = self.waiting.remove(at).container;
        self.given.push(taken.clone());
        Some(taken)
    }

    /// Notes that the step which has taken it is over, and it with the step.
    pub(super) fn settle(&mut self, container: &str) {
        if let Some(at) = self.given.iter().position(|one| one == container) {
            self.used.push(self.given.remove(at));
        }
    }

    /// Notes that a step has come. One that nobody told of may come again.
    pub(super) fn used(&mut self, image: &str) {
        match self.expected.iter().position(|expected| expected == image) {
            Some(at) => drop(self.expected.remove(at)),
            None => self.learn(image.to_owned()),
        }
    }

    /// Forgets an image of which nobody told and no step could be started.
    pub(super) fn unlearn(&mut self, image: &str) {
        self.learnt.retain(|learnt| learnt != image);
    }

    fn learn(&mut self, image: String) {
        if self.learnt.len() < LEARNT_MAX && !self.learnt.contains(&image) {
            self.learnt.push(image);
        }
    }

    /// The image of the next step for which no container waits, if there is room for one.
    pub(super) fn missing(&self) -> Option<String> {
        if self.closed || self.waiting.len() >= self.most {
            return None;
        }
        let mut have: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &self.waiting {
            *have.entry(&one.image).or_default() += 1;
        }
        let mut is_missing = |image: &&String| match have.get_mut(image.as_str()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        let mut coming = self.expected.iter().chain(&self.learnt);
        coming.find(|image| !self.refused.contains(image) && is_missing(image)).cloned()
    }

    /// Names that a new container must not have.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let waiting = self.waiting.iter().map(|one| &one.container);
        self.view.containers.iter().chain(waiting).chain(&self.given).chain(&self.used).cloned()
    }

    /// Enters a container that is about to be asked for. No step takes it yet.
    pub(super) fn reserve(&mut self, container: &str, image: &str, shape: Shape) {
        let (container, image) = (container.to_owned(), image.to_owned());
        self.waiting.push(Waiting { container, image, shape, asked: false });
    }

    /// Notes that these exist.
    pub(super) fn asked(&mut self, containers: &[&str]) {
        for one in &mut self.waiting {
            one.asked |= containers.contains(&one.container.as_str());
        }
    }

    /// Removes one that does not come to be. Its name is not tried again.
    pub(super) fn forget(&mut self, container: &str) {
        let one = self.unasked(container);
        self.used.extend(one.map(|one| one.container));
    }

    /// Removes one that the API server does not accept, nor another of its image.
    pub(super) fn refuse(&mut self, container: &str) {
        if let Some(one) = self.unasked(container) {
            self.used.push(one.container);
            if !self.refused.contains(&one.image) {
                self.refused.push(one.image);
            }
        }
    }

    /// Removes one that may have come to be, or may not: no step takes it.
    pub(super) fn doubt(&mut self, container: &str) {
        let one = self.unasked(container);
        self.given.extend(one.map(|one| one.container));
    }

    fn unasked(&mut self, container: &str) -> Option<Waiting> {
        let is_it = |one: &Waiting| !one.asked && one.container == container;
        self.waiting.iter().position(is_it).map(|at| self.waiting.remove(at))
    }

    /// All that wait, or may, also for a step that was killed before it came to them; from now on
    /// there are no new ones.
    pub(super) fn close(&mut self) -> Vec<String> {
        self.closed = true;
        let waiting = self.waiting.drain(..).map(|one| one.container);
        waiting.chain(self.given.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests;

//! Whose group a container's files are, and whether the inventory counts it.

use std::path::PathBuf;

use ephemon_cgroup::Hierarchy;

use super::Container;
use crate::life::Life;

/// Whether the inventory counts a container's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// As that of the container.
    Counted,
    /// As none: no process is in it.
    Vacant,
}

/// Whose group a container's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its own.
    Own,
    /// Its pod's, where all of its processes are.
    Pods {
        /// Path of its own; in a box, as few containers have one.
        own: Box<PathBuf>,
    },
}

impl Container {
    /// Whether no process is in its group, and the inventory knows.
    pub(crate) fn is_vacant(&self) -> bool {
        self.group == Group::Vacant
    }

    /// Whether its values are those of its pod's own group.
    pub(crate) fn stands_for_pod(&self) -> bool {
        self.place != Place::Own && self.is_open()
    }

    /// Opens the files of its pod's own group, in which its processes are.
    pub(crate) fn move_to_pod(&mut self, path: PathBuf, hierarchy: &Hierarchy) {
        self.close();
        if self.place == Place::Own {
            let own = std::mem::replace(&mut self.path, path);
            self.place = Place::Pods { own: Box::new(own) };
        }
        self.open(hierarchy);
    }

    /// It was not the one whose processes are in its pod's group. It begins again in its own group, and all
    /// that was read of the pod is that of `next`, if there is one.
    pub(crate) fn leave_pod(&mut self, next: Option<&mut Self>, hierarchy: &Hierarchy) {
        let Place::Pods { own } = &mut self.place else { return };
        let own = std::mem::take(&mut **own);
        let life = Life::new(self.life.created(), self.life.created_at());
        let mut again = Self::new(self.id.clone(), self.pod.clone(), own, life);
        again.is_birth_seen = self.is_birth_seen;
        again.is_left_out = self.is_left_out;
        again.open(hierarchy);
        let pods = std::mem::replace(self, again);
        let Some(next) = next else { return };
        let before = std::mem::replace(next, pods);
        (next.id, next.life, next.group) = (before.id, before.life, before.group);
        (next.is_birth_seen, next.is_left_out) = (before.is_birth_seen, before.is_left_out);
        (next.place, next.exit_watch) = (Place::Pods { own: Box::new(before.path) }, None);
    }
}

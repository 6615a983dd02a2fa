//! Logs whose name stands for something that is not read. Each is told once, and only if it is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_model::{LogRefusal, PodUid};

use super::Choice;
use crate::place::LogRef;

/// Most of them kept in mind; a node does not have more containers.
pub const MAX_REFUSED: usize = 1_024;

/// A wanted log that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLog {
    /// Whose.
    pub log: LogRef,
    /// Why.
    pub why: LogRefusal,
}

/// Such logs, wanted or not.
#[derive(Debug, Default)]
pub(super) struct RefusedLogs {
    all: BTreeMap<Key, State>,
    /// To be told.
    news: Vec<RefusedLog>,
}

/// What tells logs apart: the pod's UID, the container, the start.
type Key = (PodUid, Arc<str>, u32);

#[derive(Debug)]
struct State {
    log: LogRef,
    why: LogRefusal,
    is_decided: bool,
}

// === impl RefusedLogs ===

impl RefusedLogs {
    pub(super) fn add(&mut self, log: LogRef, why: LogRefusal) {
        let key = key(&log);
        if self.all.len() < MAX_REFUSED || self.all.contains_key(&key) {
            self.all.entry(key).or_insert(State { log, why, is_decided: false });
        }
    }

    /// It can be read after all, or is gone.
    pub(super) fn remove(&mut self, log: &LogRef) {
        if !self.all.is_empty() {
            self.all.remove(&key(log));
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&LogRef) -> bool) {
        self.all.retain(|_, state| keep(&state.log));
    }

    /// Asks which of them are wanted.
    pub(super) fn choose(&mut self, choose: &mut dyn FnMut(&LogRef) -> Choice) {
        for state in self.all.values_mut().filter(|state| !state.is_decided) {
            match choose(&state.log) {
                Choice::Unsure => continue,
                Choice::Take => {
                    self.news.push(RefusedLog { log: state.log.clone(), why: state.why });
                }
                Choice::Leave => {}
            }
            state.is_decided = true;
        }
    }

    pub(super) fn take(&mut self) -> Vec<RefusedLog> {
        std::mem::take(&mut self.news)
    }
}

fn key(log: &LogRef) -> Key {
    (log.pod.uid.clone(), log.container.clone(), log.attempt)
}

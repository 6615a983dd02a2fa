//! The state of pods in the API server's list, and of the connection to it.

use std::collections::HashSet;
use std::time::Instant;

use ephemon_model::PodUid;

use super::{State, Touched};
use crate::inventory::watched::{ApiState, DELETED_RETENTION, Standing, UNLISTED_TIMEOUT};

impl State {
    pub(in crate::inventory) fn listed(&mut self, uid: &PodUid, now: Instant) {
        let pod = self.pod_mut(uid, now);
        if pod.standing != Standing::Listed {
            pod.standing = Standing::Listed;
            self.touch(uid);
        }
    }

    pub(in crate::inventory) fn unlisted(&mut self, uid: &PodUid, now: Instant) {
        if let Some(pod) = self.pods.get_mut(uid)
            && pod.standing == Standing::Listed
        {
            pod.standing = Standing::Deleted { at: now };
            self.touch(uid);
        }
        self.drop_done_pods(now);
    }

    pub(in crate::inventory) fn list_complete(
        &mut self,
        uids: &HashSet<PodUid>,
        asked: Instant,
        now: Instant,
    ) {
        for (uid, pod) in &mut self.pods {
            match pod.standing {
                Standing::Listed if !uids.contains(uid) => {
                    pod.standing = Standing::Deleted { at: now };
                    self.touched.add(uid);
                }
                Standing::Unlisted { since } if since <= asked => {
                    pod.standing = Standing::Unwanted;
                    self.touched.add(uid);
                }
                _ => {}
            }
        }
        self.set_line(ApiState::Live);
        self.drop_done_pods(now);
    }

    fn set_line(&mut self, line: ApiState) {
        if self.line != line {
            self.line = line;
            // Whether any pod is selected depends on it.
            self.touched = Touched::All;
        }
    }

    pub(in crate::inventory) fn api_live(&mut self) {
        if matches!(self.line, ApiState::Failing { .. }) {
            self.set_line(ApiState::Live);
        }
    }

    pub(in crate::inventory) fn api_failing(&mut self, now: Instant) {
        if self.line != ApiState::Live {
            return;
        }
        // Verdicts from a working connection stay in effect.
        for pod in self.pods.values_mut() {
            if let Standing::Unlisted { since } = pod.standing
                && now.saturating_duration_since(since) >= UNLISTED_TIMEOUT
            {
                pod.standing = Standing::Unwanted;
            }
        }
        self.set_line(ApiState::Failing { since: now });
    }

    pub(in crate::inventory) fn log_directory_gone(&mut self, uid: &PodUid, now: Instant) {
        if let Some(pod) = self.pods.get(uid)
            && pod.standing != Standing::Listed
            && pod.ids.is_empty()
        {
            if let Standing::Deleted { .. } = pod.standing {
                self.drop_done_pods(now);
            } else {
                self.pods.remove(uid);
                self.touch(uid);
            }
        }
    }

    /// Drops deleted pods that no caller needs any more.
    fn drop_done_pods(&mut self, now: Instant) {
        let Self { pods, touched, .. } = self;
        pods.retain(|uid, pod| {
            let Standing::Deleted { at } = pod.standing else { return true };
            let is_kept =
                !pod.ids.is_empty() || now.saturating_duration_since(at) < DELETED_RETENTION;
            if !is_kept {
                touched.add(uid);
            }
            is_kept
        });
    }
}

//! The end of a pod: its containers, its sandbox, its logs and volumes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{SANDBOX, Worker};
use crate::kubelet::container::{Container, State};
use crate::kubelet::{Kind, logs};

// === impl Worker ===

impl Worker {
    /// Whether no container of the pod runs and no regular one will be restarted.
    pub(super) fn is_all_over(&self) -> bool {
        let mut own = self.seen.iter().filter(|(name, _)| *name != SANDBOX);
        own.all(|(_, seen)| matches!(seen.state, State::Ended(_)))
            && self.pod().is_some_and(|pod| self.is_complete(&pod))
    }

    /// Terminates every container except the sandbox, kills it after the grace period, and waits
    /// for all.
    pub(super) async fn end_containers(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        for container in self.containers.values_mut().filter(|c| c.kind != Kind::Sandbox) {
            container.terminate().await;
        }
        self.wait_for_removal(Some(deadline), false).await;
        for container in self.containers.values_mut().filter(|c| c.kind != Kind::Sandbox) {
            container.kill().await;
        }
        self.wait_for_removal(None, false).await;
    }

    pub(super) async fn end_sandbox(&mut self) {
        if let Some(sandbox) = self.containers.get_mut(SANDBOX) {
            sandbox.kill().await;
        }
        self.wait_for_removal(None, true).await;
        let place = self.place.clone();
        // It blocks until the last tasks have ended.
        drop(tokio::task::spawn_blocking(move || place.remove_tree()).await);
    }

    async fn wait_for_removal(&mut self, deadline: Option<Instant>, sandbox: bool) {
        let left = |worker: &Self| {
            let counts = |c: &&Container| !c.removed && (sandbox || c.kind != Kind::Sandbox);
            worker.containers.values().any(|c| counts(&c))
        };
        let mut stopped = self.stopped.clone();
        while left(self) {
            let word = match deadline {
                Some(deadline) => tokio::select! {
                    word = timeout_at(deadline, self.words.1.recv()) => word.ok().flatten(),
                    _ = stopped.wait_for(|stop| *stop) => None,
                },
                None => self.words.1.recv().await,
            };
            let Some((name, word)) = word else {
                return;
            };
            self.hear(&name, &word);
        }
    }

    pub(super) async fn remove_logs(&mut self) {
        let last = self.last_end.unwrap_or_else(Instant::now);
        let due = last + self.shared.settings.log_removal;
        let mut stopped = self.stopped.clone();
        tokio::select! {
            () = sleep_until(due) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        let root = &self.shared.settings.root;
        for (name, container) in &self.containers {
            logs::unlink(root, (&self.key.0, &self.key.1), name, &container.id);
            drop(std::fs::remove_dir_all(root.join("run/containers").join(&container.id)));
        }
        drop(std::fs::remove_dir_all(&self.logs));
        self.volumes.remove();
        self.shared.running.forget(&self.key);
    }
}

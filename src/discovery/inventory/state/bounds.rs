//! What is dropped when a bound is exceeded: the oldest entries, counted.

use super::{Container, MAX_CONTAINERS, MAX_PODS, MAX_UNSEEN, Standing, State};

impl State {
    /// Removes a sixteenth of the bound at a time, so that the search runs rarely.
    pub(super) fn trim_containers(&mut self) {
        if self.unborn > MAX_UNSEEN {
            self.drop_oldest(MAX_UNSEEN / 16, |container| container.created.is_none().then_some(0));
        }
        if self.containers.len() > MAX_CONTAINERS {
            self.drop_oldest(MAX_CONTAINERS / 16, |container| {
                let lives = container.created.is_some() && !container.ended;
                Some(u8::from(lives))
            });
        }
    }

    fn drop_oldest(&mut self, count: usize, class: impl Fn(&Container) -> Option<u8>) {
        let mut ids: Vec<_> = self
            .containers
            .iter()
            .filter_map(|(id, container)| Some((class(container)?, container.seq, id.clone())))
            .collect();
        ids.sort_unstable();
        for (_, _, id) in ids.into_iter().take(count.max(1)) {
            self.forget(&id);
            self.dropped += 1;
        }
    }

    pub(super) fn trim_pods(&mut self) {
        let mut uids: Vec<_> = self
            .pods
            .iter()
            .map(|(uid, pod)| {
                let listed = pod.standing == Standing::Listed;
                ((listed, !pod.ids.is_empty(), pod.seq), uid.clone())
            })
            .collect();
        uids.sort_unstable();
        for (_, uid) in uids.into_iter().take(MAX_PODS / 16) {
            if let Some(pod) = self.pods.remove(&uid) {
                self.dropped += 1;
                self.touch(&uid);
                for id in &pod.ids {
                    self.forget(id);
                }
            }
        }
    }
}

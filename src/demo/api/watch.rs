//! One watch: its initial events, the changes it sends, and its end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::faults::{Fault, Faults, WatchFault};
use super::selector::{FieldSelector, LabelSelector};
use super::status::Refusal;
use super::store::{Change, Store};

/// Interval of bookmarks, as of a real server.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// The pods of a list or watch.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) namespace: Option<String>,
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

/// How a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With the present state as `ADDED` events.
    State,
    /// The same, followed by a bookmark that marks the end (`sendInitialEvents`).
    StateThenBookmark,
    /// With the changes after a version.
    After(u64),
}

/// The parameters of the request.
#[derive(Debug, Clone)]
pub(super) struct WatchRequest {
    pub(super) scope: Scope,
    pub(super) beginning: Beginning,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
}

struct Watch {
    store: Store,
    faults: Faults,
    wish: WatchRequest,
    version: u64,
    lines: VecDeque<Bytes>,
    ending: bool,
    changes: Receiver<u64>,
    strikes: Receiver<u64>,
    fault: Receiver<Fault>,
    until: Option<Instant>,
    next_bookmark: Instant,
}

/// The body of a watch's response: one JSON event per line.
pub(super) fn stream(
    store: Store,
    faults: Faults,
    wish: WatchRequest,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    stream::unfold(Watch::new(store, faults, wish), |mut watch| async {
        let line = watch.next().await?;
        Some((line.map(Frame::data), watch))
    })
}

// === impl Scope ===

impl Scope {
    pub(super) fn covers(&self, pod: &Value) -> bool {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        self.namespace.as_deref().is_none_or(|own| namespace == Some(own))
            && self.labels.matches(pod)
            && self.fields.matches(pod)
    }
}

// === impl Watch ===

impl Watch {
    fn new(store: Store, faults: Faults, wish: WatchRequest) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            changes: store.changes(),
            strikes: faults.strikes(),
            fault: faults.subscribe(),
            version: 0,
            lines: VecDeque::new(),
            ending: false,
            until: wish.timeout.and_then(|timeout| now.checked_add(timeout)),
            next_bookmark: now.checked_add(BOOKMARK_EVERY).unwrap_or(now),
            store,
            faults,
            wish,
        };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        if let Beginning::After(version) = self.wish.beginning {
            self.version = version;
            return self.collect();
        }
        let (pods, version) = self.store.list();
        self.version = version;
        for pod in pods.iter().filter(|pod| self.wish.scope.covers(pod)) {
            self.lines.push_back(line("ADDED", pod));
        }
        if self.wish.beginning == Beginning::StateThenBookmark {
            self.bookmark(true);
        }
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(line));
            }
            if self.ending {
                return None;
            }
            let hung = *self.fault.borrow_and_update() == Fault::Hang;
            let timed_out = async {
                match self.until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.changes.changed(), if !hung => self.collect(),
                _ = self.strikes.changed() => match self.faults.last_strike() {
                    WatchFault::Cut => return Some(Err(io::ErrorKind::ConnectionReset.into())),
                    WatchFault::Expire => self.fail(&Refusal::expired(self.version, self.version)),
                },
                _ = self.fault.changed() => {}
                () = sleep_until(self.next_bookmark), if !hung => {
                    let now = Instant::now();
                    self.next_bookmark = now.checked_add(BOOKMARK_EVERY).unwrap_or(now);
                    if self.wish.bookmarks {
                        self.bookmark(false);
                    }
                }
                () = timed_out => {
                    if self.wish.bookmarks && !hung {
                        self.bookmark(false);
                    }
                    self.ending = true;
                }
            }
        }
    }

    /// Collects the changes since the last call.
    fn collect(&mut self) {
        self.changes.mark_unchanged();
        match self.store.since(self.version) {
            Ok(changes) => {
                for change in changes {
                    self.version = change.version;
                    self.lines.extend(event(&self.wish.scope, &change));
                }
            }
            Err(refusal) => self.fail(&refusal),
        }
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.lines.push_back(line("ERROR", &refusal.to_status()));
        self.ending = true;
    }

    fn bookmark(&mut self, initial_events_end: bool) {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if initial_events_end && let Some(map) = metadata.as_object_mut() {
            let end = json!({"k8s.io/initial-events-end": "true"});
            map.insert("annotations".to_owned(), end);
        }
        let object = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": metadata,
            "spec": {"containers": null},
            "status": {},
        });
        self.lines.push_back(line("BOOKMARK", &object));
    }
}

/// The event for a change within this scope. A pod that leaves the scope is `DELETED`, with the
/// version of the change.
fn event(scope: &Scope, change: &Change) -> Option<Bytes> {
    let covered = |pod: &Option<Arc<Value>>| pod.as_ref().is_some_and(|pod| scope.covers(pod));
    let (before, after) = (covered(&change.before), covered(&change.after));
    match (&change.before, &change.after) {
        (_, Some(pod)) if after && before => Some(line("MODIFIED", pod)),
        (_, Some(pod)) if after => Some(line("ADDED", pod)),
        (Some(pod), _) if before => {
            let mut last = (**pod).clone();
            if let Some(version) = last.pointer_mut("/metadata/resourceVersion") {
                *version = json!(change.version.to_string());
            }
            Some(line("DELETED", &last))
        }
        _ => None,
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(label: &str) -> Arc<Value> {
        let metadata = json!({"resourceVersion": "1", "labels": {"a": label}});
        Arc::new(json!({"metadata": metadata}))
    }

    fn kind(before: Option<Arc<Value>>, after: Option<Arc<Value>>) -> Option<String> {
        let scope = Scope { labels: LabelSelector::parse("a=in").unwrap(), ..Scope::default() };
        let change = Change { version: 9, before, after };
        let line = event(&scope, &change)?;
        let event: Value = serde_json::from_slice(&line).unwrap();
        Some(event["type"].as_str().unwrap().to_owned())
    }

    #[test]
    fn entering_and_leaving_the_selection_are_birth_and_death() {
        assert_eq!(kind(None, Some(pod("in"))).as_deref(), Some("ADDED"));
        assert_eq!(kind(Some(pod("out")), Some(pod("in"))).as_deref(), Some("ADDED"));
        assert_eq!(kind(Some(pod("in")), Some(pod("in"))).as_deref(), Some("MODIFIED"));
        assert_eq!(kind(Some(pod("in")), Some(pod("out"))).as_deref(), Some("DELETED"));
        assert_eq!(kind(Some(pod("in")), None).as_deref(), Some("DELETED"));
        assert_eq!(kind(Some(pod("out")), None), None);
        assert_eq!(kind(None, Some(pod("out"))), None);
    }
}

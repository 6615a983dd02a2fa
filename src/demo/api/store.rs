//! The pods, their resource versions, and a bounded history of changes for watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use serde_json::Value;
use tokio::sync::watch;

use super::events::Events;
pub use super::object::Key;
use super::object::{
    complete_containers, complete_pod, deleted, raise_generation, section, stamped, text,
};
use super::patch::PatchKind;
use super::secrets::Secrets;
use super::status::{FieldError, Refusal};
use super::validate;

/// The version of the first change; a real server does not start at 1 either.
const FIRST_VERSION: u64 = 700;

/// Default number of changes that are kept for watches that resume.
pub const HISTORY_LIMIT: usize = 1000;

/// The store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Mutex<Inner>>,
    version: watch::Sender<u64>,
    secrets: Secrets,
    events: Events,
}

/// One change of one pod.
#[derive(Debug, Clone)]
pub struct Change {
    /// The resource version of the change.
    pub version: u64,
    /// The pod before; `None` if it was created.
    pub before: Option<Arc<Value>>,
    /// The pod after; `None` if it was removed (then `before` has the version of its removal).
    pub after: Option<Arc<Value>>,
}

#[derive(Debug)]
struct Inner {
    node: String,
    pods: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    capacity: usize,
    version: u64,
    /// Version of the newest change that is no longer in `history`.
    forgotten: u64,
}

// === impl Store ===

impl Store {
    /// An empty store; new pods are bound to `node`. Keeps `capacity` changes.
    pub fn new(node: &str, capacity: usize) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                node: node.to_owned(),
                pods: BTreeMap::new(),
                history: VecDeque::new(),
                capacity,
                version: FIRST_VERSION,
                forgotten: FIRST_VERSION,
            })),
            version: watch::Sender::new(FIRST_VERSION),
            secrets: Secrets::default(),
            events: Events::default(),
        }
    }

    /// The Secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The kubelet's events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Notified of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// All pods and the current version.
    pub fn list(&self) -> (Vec<Arc<Value>>, u64) {
        let inner = self.lock();
        (inner.pods.values().cloned().collect(), inner.version)
    }

    /// One pod.
    pub fn get(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        self.lock().find(key)
    }

    /// Changes after `version`, oldest first; an error if some of them are no longer kept.
    pub fn since(&self, version: u64) -> Result<Vec<Change>, Refusal> {
        let inner = self.lock();
        if version < inner.forgotten {
            return Err(Refusal::expired(version, inner.forgotten));
        }
        let newer = inner.history.partition_point(|c| c.version <= version);
        Ok(inner.history.iter().skip(newer).cloned().collect())
    }

    /// Drops the history: watches from an older version are refused from now on.
    pub fn forget_history(&self) {
        let mut inner = self.lock();
        inner.history.clear();
        inner.forgotten = inner.version;
    }

    /// Creates a pod.
    pub fn create(&self, namespace: &str, mut pod: Value) -> Result<Arc<Value>, Refusal> {
        let name = text(&pod, "/metadata/name").unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Refusal::bad_request("metadata.name: Required value"));
        }
        let key = (namespace.to_owned(), name);
        let mut inner = self.lock();
        if inner.pods.contains_key(&key) {
            return Err(Refusal::already_exists(&key.1));
        }
        let forbidden = "cannot be set on create";
        if pod.pointer("/spec/ephemeralContainers").is_some() {
            let error = FieldError::forbidden("spec.ephemeralContainers", forbidden);
            return Err(Refusal::invalid(&key.1, &[error]));
        }
        complete_pod(&mut pod, namespace, &inner.node);
        Ok(self.put(&mut inner, key, pod))
    }

    /// Patches `spec.ephemeralContainers` only, as this subresource does.
    pub fn patch_ephemeral(
        &self,
        key: &Key,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.update_ephemeral(key, |old| kind.apply(old, patch))
    }

    /// Replaces `spec.ephemeralContainers` only, as this subresource does.
    pub fn put_ephemeral(&self, key: &Key, pod: Value) -> Result<Arc<Value>, Refusal> {
        self.update_ephemeral(key, |_| Ok(pod))
    }

    fn update_ephemeral(
        &self,
        key: &Key,
        change: impl FnOnce(&Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let old = inner.find(key)?;
        let changed = change(&old)?;
        let version = "/metadata/resourceVersion";
        if text(&changed, version)
            .is_some_and(|of| !of.is_empty() && Some(of) != text(&old, version))
        {
            return Err(Refusal::conflict(&key.1));
        }
        validate::typed(&changed)?;
        let mut new = (*old).clone();
        let list = changed.pointer("/spec/ephemeralContainers").filter(|list| !list.is_null());
        if let Some(spec) = section(&mut new, "spec") {
            match list {
                Some(list) => {
                    spec.insert("ephemeralContainers".to_owned(), list.clone());
                }
                None => {
                    spec.remove("ephemeralContainers");
                }
            }
        }
        validate::forget_unknown(&mut new);
        complete_containers(&mut new);
        let mut errors = validate::ephemeral_containers(&new);
        errors.extend(validate::ephemeral_update(&old, &new));
        if !errors.is_empty() {
            return Err(Refusal::invalid(&key.1, &errors));
        }
        Ok(self.replace(&mut inner, key, &old, new))
    }

    /// Patches labels, annotations and the few fields of the spec that may change.
    pub fn patch(&self, key: &Key, kind: PatchKind, patch: &Value) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let old = inner.find(key)?;
        let mut new = kind.apply(&old, patch)?;
        for kept in ["uid", "name", "namespace", "creationTimestamp", "resourceVersion"] {
            if let (Some(value), Some(metadata)) =
                (old.pointer(&format!("/metadata/{kept}")).cloned(), section(&mut new, "metadata"))
            {
                metadata.insert(kept.to_owned(), value);
            }
        }
        if let (Some(status), Some(pod)) = (old.get("status").cloned(), new.as_object_mut()) {
            pod.insert("status".to_owned(), status);
        }
        complete_containers(&mut new);
        let errors = validate::pod_update(&old, &new);
        if !errors.is_empty() {
            return Err(Refusal::invalid(&key.1, &errors));
        }
        Ok(self.replace(&mut inner, key, &old, new))
    }

    /// Replaces the status, for the kubelet.
    pub fn set_status(&self, key: &Key, status: Value) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let old = inner.find(key)?;
        let mut new = (*old).clone();
        if let Some(pod) = new.as_object_mut() {
            pod.insert("status".to_owned(), status);
        }
        Ok(self.replace(&mut inner, key, &old, new))
    }

    /// Marks a pod for deletion: the kubelet does the rest.
    pub fn delete(&self, key: &Key, grace: Option<u64>) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let old = inner.find(key)?;
        let own = old.pointer("/spec/terminationGracePeriodSeconds");
        let grace = grace.or_else(|| own.and_then(Value::as_u64)).unwrap_or(30);
        if old.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(old);
        }
        let mut new = deleted(&old, grace);
        raise_generation(&mut new);
        Ok(self.put(&mut inner, key.clone(), new))
    }

    /// Removes a pod, for the kubelet: first sets the grace period to 0, then removes it. The last
    /// object has the version of its removal, as on a real server.
    pub fn remove(&self, key: &Key) {
        let mut inner = self.lock();
        if let Ok(old) = inner.find(key)
            && old.pointer("/metadata/deletionTimestamp").is_some()
        {
            self.put(&mut inner, key.clone(), deleted(&old, 0));
        }
        let Some(old) = inner.pods.remove(key) else {
            return;
        };
        self.secrets.collect(text(&old, "/metadata/uid").unwrap_or_default());
        inner.version = inner.version.saturating_add(1);
        let last = stamped((*old).clone(), inner.version);
        let change = Change { version: inner.version, before: Some(last), after: None };
        self.record(&mut inner, change);
    }

    fn replace(&self, inner: &mut Inner, key: &Key, old: &Value, mut new: Value) -> Arc<Value> {
        if *old == new {
            return Arc::new(new);
        }
        if old.get("spec") != new.get("spec") {
            raise_generation(&mut new);
        }
        self.put(inner, key.clone(), new)
    }

    fn put(&self, inner: &mut Inner, key: Key, pod: Value) -> Arc<Value> {
        inner.version = inner.version.saturating_add(1);
        let pod = stamped(pod, inner.version);
        let before = inner.pods.insert(key, Arc::clone(&pod));
        let change = Change { version: inner.version, before, after: Some(Arc::clone(&pod)) };
        self.record(inner, change);
        pod
    }

    fn record(&self, inner: &mut Inner, change: Change) {
        let version = change.version;
        inner.history.push_back(change);
        while inner.history.len() > inner.capacity {
            if let Some(oldest) = inner.history.pop_front() {
                inner.forgotten = oldest.version;
            }
        }
        self.version.send_replace(version);
    }

    /// The state is complete even after a panic, so a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

// === impl Inner ===

impl Inner {
    fn find(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        let found = self.pods.get(key).cloned();
        found.ok_or_else(|| Refusal::not_found(&key.1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}})
    }

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    #[test]
    fn a_watch_older_than_the_history_is_refused_as_expired() {
        let store = Store::new("node1", 2);
        let (_, start) = store.list();
        for name in ["a", "b", "c"] {
            store.create("default", pod(name)).unwrap();
        }
        let refusal = store.since(start).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (410, "Expired"));
        assert_eq!(store.since(start + 1).unwrap().len(), 2);
        store.forget_history();
        assert!(store.since(start + 2).is_err());
        assert!(store.since(start + 3).unwrap().is_empty());
    }

    #[test]
    fn only_a_change_of_the_spec_raises_the_generation() {
        let store = Store::new("node1", HISTORY_LIMIT);
        store.create("default", pod("a")).unwrap();
        let labelled = json!({"metadata": {"labels": {"x": "y"}}});
        let after = store.patch(&key("a"), PatchKind::Merge, &labelled).unwrap();
        assert_eq!(after.pointer("/metadata/generation"), Some(&json!(1)));
        let more = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a:1"}]}});
        let after = store.patch_ephemeral(&key("a"), PatchKind::Strategic, &more).unwrap();
        assert_eq!(after.pointer("/metadata/generation"), Some(&json!(2)));
    }

    #[test]
    fn a_change_that_changes_nothing_makes_no_version() {
        let store = Store::new("node1", HISTORY_LIMIT);
        store.create("default", pod("a")).unwrap();
        let (_, before) = store.list();
        store.patch(&key("a"), PatchKind::Merge, &json!({})).unwrap();
        assert_eq!(store.list().1, before);
    }

    proptest! {
        #[test]
        fn replaying_the_history_gives_the_list(steps in prop::collection::vec((0..4_u8, any::<bool>()), 0..40)) {
            let store = Store::new("node1", HISTORY_LIMIT);
            let (_, start) = store.list();
            for (name, remove) in steps {
                let name = format!("p{name}");
                if remove {
                    store.remove(&key(&name));
                } else if store.create("default", pod(&name)).is_err() {
                    let label = json!({"metadata": {"labels": {"v": store.list().1.to_string()}}});
                    store.patch(&key(&name), PatchKind::Merge, &label).unwrap();
                }
            }
            let mut replayed = BTreeMap::new();
            let mut last = start;
            for change in store.since(start).unwrap() {
                prop_assert!(change.version > last);
                last = change.version;
                let name = |pod: &Value| text(pod, "/metadata/name").unwrap().to_owned();
                match (change.before, change.after) {
                    (_, Some(pod)) => replayed.insert(name(&pod), pod),
                    (Some(pod), None) => replayed.remove(&name(&pod)),
                    (None, None) => None,
                };
            }
            prop_assert_eq!(replayed.into_values().collect::<Vec<_>>(), store.list().0);
        }
    }
}

//! Secrets: created, read, deleted, and garbage-collected with the pod that owns them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use serde_json::{Value, json};

use super::object::{Key, items, new_uid, section, text, time};
use super::status::Refusal;

/// Most bytes of one Secret's data.
///
/// Source: kubernetes v1.36.2, `pkg/apis/core/types.go`, `MaxSecretSize`.
const MOST_BYTES: usize = 1024 * 1024;

/// All Secrets. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Mutex<BTreeMap<Key, Value>>>);

// === impl Secrets ===

impl Secrets {
    /// Creates a Secret.
    pub fn create(&self, namespace: &str, mut secret: Value) -> Result<Value, Refusal> {
        let name = text(&secret, "/metadata/name").unwrap_or_default().to_owned();
        let refuse = |why: String| {
            Err(Refusal::new(422, "Invalid", format!("Secret \"{name}\" is invalid: {why}")))
        };
        if !is_subdomain(&name) {
            return refuse(format!(
                "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            ));
        }
        let mut size = 0_usize;
        for (key, value) in secret.get("data").and_then(Value::as_object).into_iter().flatten() {
            let is_key = !key.is_empty()
                && key.len() <= 253
                && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if !is_key {
                return refuse(format!(
                    "data[{key}]: Invalid value: \"{key}\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                ));
            }
            let bytes = value.as_str().and_then(from_base64);
            let Some(bytes) = bytes else {
                return Err(Refusal::bad_request(format!(
                    "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data in data[{key}]"
                )));
            };
            size = size.saturating_add(bytes.len());
        }
        if size > MOST_BYTES {
            return refuse(format!("data: Too long: may not be more than {MOST_BYTES} bytes"));
        }
        let key = (namespace.to_owned(), name);
        let mut all = self.lock();
        if all.contains_key(&key) {
            let message = format!("secrets \"{}\" already exists", key.1);
            return Err(Refusal {
                details: Some(json!({"name": key.1, "kind": "secrets"})),
                ..Refusal::new(409, "AlreadyExists", message)
            });
        }
        if let Some(metadata) = section(&mut secret, "metadata") {
            metadata.insert("namespace".to_owned(), json!(namespace));
            metadata.insert("uid".to_owned(), json!(new_uid()));
            let now = time(std::time::SystemTime::now());
            metadata.insert("creationTimestamp".to_owned(), json!(now));
        }
        if let Some(map) = secret.as_object_mut() {
            map.insert("kind".to_owned(), json!("Secret"));
            map.insert("apiVersion".to_owned(), json!("v1"));
            map.entry("type").or_insert_with(|| json!("Opaque"));
        }
        all.insert(key, secret.clone());
        Ok(secret)
    }

    /// Gets a Secret.
    pub fn get(&self, key: &Key) -> Result<Value, Refusal> {
        self.lock().get(key).cloned().ok_or_else(|| not_found(&key.1))
    }

    /// A Secret's values; `None` if it does not exist.
    pub fn values(&self, key: &Key) -> Option<BTreeMap<String, Vec<u8>>> {
        let secret = self.get(key).ok()?;
        let data = secret.get("data").and_then(Value::as_object).into_iter().flatten();
        let values = data.filter_map(|(name, value)| {
            Some((name.clone(), value.as_str().and_then(from_base64)?))
        });
        Some(values.collect())
    }

    /// Names of all Secrets, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().map(|(_, name)| name.clone()).collect()
    }

    /// Deletes a Secret; the response is a `Status`, as from the real server.
    pub fn delete(&self, key: &Key) -> Result<Value, Refusal> {
        let gone = self.lock().remove(key).ok_or_else(|| not_found(&key.1))?;
        Ok(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": key.1,
                "kind": "secrets",
                "uid": gone.pointer("/metadata/uid").cloned().unwrap_or_default(),
            },
        }))
    }

    /// Deletes what a removed pod owned, as the garbage collector does.
    pub(super) fn collect(&self, owner_uid: &str) {
        self.lock().retain(|_, secret| {
            !items(secret, "/metadata/ownerReferences")
                .any(|owner| text(owner, "/uid") == Some(owner_uid))
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Value>> {
        lock(&self.0)
    }
}

fn not_found(name: &str) -> Refusal {
    Refusal {
        details: Some(json!({"name": name, "kind": "secrets"})),
        ..Refusal::new(404, "NotFound", format!("secrets \"{name}\" not found"))
    }
}

fn is_subdomain(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&name.len())
        && name.chars().all(|c| alphanumeric(c) || c == '-' || c == '.')
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
}

/// Standard alphabet with padding, as Go's decoder accepts it.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = Value::String(text.to_owned());
    serde_json::from_value::<k8s_openapi::ByteString>(value).ok().map(|bytes| bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    #[test]
    fn a_secret_is_made_once_read_and_removed() {
        let secrets = Secrets::default();
        let secret = json!({"metadata": {"name": "s"}, "data": {"A": "w7w="}});
        secrets.create("default", secret.clone()).unwrap();
        assert_eq!(secrets.create("default", secret).unwrap_err().code, 409);
        assert_eq!(secrets.values(&key("s")).unwrap()["A"], "ü".as_bytes());
        assert_eq!(secrets.delete(&key("s")).unwrap()["status"], "Success");
        assert_eq!(secrets.delete(&key("s")).unwrap_err().code, 404);
    }

    #[test]
    fn what_a_real_server_refuses_is_refused() {
        let code = |secret: Value| Secrets::default().create("default", secret).unwrap_err().code;
        assert_eq!(code(json!({"metadata": {"name": "A_b"}})), 422);
        assert_eq!(code(json!({"metadata": {}})), 422);
        assert_eq!(code(json!({"metadata": {"name": "s"}, "data": {"a b": ""}})), 422);
        assert_eq!(code(json!({"metadata": {"name": "s"}, "data": {"a": "no base64!"}})), 400);
        let long = "AAAA".repeat(MOST_BYTES / 3 + 1);
        assert_eq!(code(json!({"metadata": {"name": "s"}, "data": {"a": long}})), 422);
    }

    #[test]
    fn a_secret_goes_with_its_owner() {
        let secrets = Secrets::default();
        let owned = json!({"metadata": {"name": "s", "ownerReferences": [{"uid": "u"}]}});
        secrets.create("default", owned).unwrap();
        secrets.create("default", json!({"metadata": {"name": "t"}})).unwrap();
        secrets.collect("u");
        assert_eq!(secrets.names(), ["t"]);
    }
}

//! Authorisation: a role's rules for requests, like the real server's RBAC, and a record of the
//! requests.
//!
//! Source: kubernetes v1.36.2, `plugin/pkg/auth/authorizer/rbac/rbac.go` (rules),
//! `staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go` (verbs).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use hyper::Method;
use serde_json::Value;

use super::object::items;
use super::query::Query;
use super::status::Refusal;

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `get`, `list`, `watch`, `create`, `patch`, `delete`.
    pub verb: &'static str,
    /// `pods`, `pods/log`, `secrets`.
    pub resource: String,
    /// The object's name, if the request has one.
    pub name: Option<String>,
}

/// The rules. Everything is allowed until rules are set. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Access(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    user: String,
    rules: Option<Vec<Value>>,
    seen: BTreeSet<(String, String)>,
}

// === impl Access ===

impl Access {
    /// From now on this user may only do what a Role's `rules` allow; `None` removes the
    /// restriction.
    pub fn set(&self, user: &str, rules: Option<Vec<Value>>) {
        let mut inner = self.lock();
        user.clone_into(&mut inner.user);
        inner.rules = rules;
    }

    /// Verbs and resources of the requests so far, each once, in order.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.lock().seen.iter().cloned().collect()
    }

    /// Allows a request, or refuses it with the real server's message.
    pub(super) fn check(&self, asked: &Asked, namespace: Option<&str>) -> Result<(), Refusal> {
        let mut inner = self.lock();
        inner.seen.insert((asked.verb.to_owned(), asked.resource.clone()));
        let Some(rules) = &inner.rules else { return Ok(()) };
        if rules.iter().any(|rule| allows(rule, asked)) {
            return Ok(());
        }
        let kind = asked.resource.split('/').next().unwrap_or_default();
        let named = asked.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let scope = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        Err(Refusal::new(
            403,
            "Forbidden",
            format!(
                "{kind}{named} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"\" {scope}",
                inner.user, asked.verb, asked.resource
            ),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

// === impl Asked ===

impl Asked {
    /// From a request's method and path below the core group; `None` for paths that are not
    /// resources.
    pub(super) fn of(method: &Method, parts: &[&str], query: &Query) -> Option<Self> {
        let rest = parts.strip_prefix(&["api", "v1"])?;
        let rest = match rest {
            ["namespaces", _, rest @ ..] | rest => rest,
        };
        let (kind, name, sub) = match rest {
            [kind] => (*kind, None, None),
            [kind, name] => (*kind, Some((*name).to_owned()), None),
            [kind, name, sub] => (*kind, Some((*name).to_owned()), Some(*sub)),
            _ => return None,
        };
        let watching = query.flag("watch");
        // A list restricted to one name is authorised for that name.
        let field = query.get("fieldSelector").and_then(|f| f.strip_prefix("metadata.name="));
        let name = name.or_else(|| field.map(str::to_owned));
        let is_one = rest.len() > 1;
        let verb = match *method {
            Method::GET if watching => "watch",
            Method::GET if is_one => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PATCH => "patch",
            Method::PUT => "update",
            Method::DELETE => "delete",
            _ => return None,
        };
        let resource = match sub {
            Some(sub) => format!("{kind}/{sub}"),
            None => kind.to_owned(),
        };
        Some(Self { verb, resource, name })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

fn allows(rule: &Value, asked: &Asked) -> bool {
    let has =
        |list: &str, wanted: &str| items(rule, list).any(|item| item == wanted || item == "*");
    let named = rule.get("resourceNames").is_none()
        || asked.name.as_ref().is_some_and(|name| items(rule, "/resourceNames").any(|n| n == name));
    has("/apiGroups", "")
        && has("/resources", &asked.resource)
        && has("/verbs", asked.verb)
        && named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(method: &Method, path: &str, query: &str) -> String {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        Asked::of(method, &parts, &Query::parse(query)).map(|a| a.to_string()).unwrap_or_default()
    }

    #[test]
    fn verbs_follow_method_and_path() {
        let pods = "/api/v1/namespaces/n/pods";
        assert_eq!(asked(&Method::GET, pods, ""), "list pods");
        assert_eq!(asked(&Method::GET, pods, "watch=true"), "watch pods");
        assert_eq!(asked(&Method::GET, &format!("{pods}/p"), ""), "get pods");
        assert_eq!(asked(&Method::GET, &format!("{pods}/p/log"), ""), "get pods/log");
        let patch = asked(&Method::PATCH, &format!("{pods}/p/ephemeralcontainers"), "");
        assert_eq!(patch, "patch pods/ephemeralcontainers");
        assert_eq!(asked(&Method::POST, "/api/v1/namespaces/n/secrets", ""), "create secrets");
        assert_eq!(asked(&Method::GET, "/version", ""), "");
    }

    #[test]
    fn a_role_allows_what_it_names_and_nothing_else() {
        let access = Access::default();
        let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let get = Asked { verb: "get", resource: "pods".to_owned(), name: Some("p".to_owned()) };
        let log = Asked { resource: "pods/log".to_owned(), ..get.clone() };
        assert!(access.check(&log, Some("n")).is_ok());
        access.set("system:serviceaccount:n:runner", Some(vec![rule]));
        assert!(access.check(&get, Some("n")).is_ok());
        let refusal = access.check(&log, Some("n")).unwrap_err();
        assert_eq!(
            refusal.message,
            "pods \"p\" is forbidden: User \"system:serviceaccount:n:runner\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"n\""
        );
        assert_eq!(access.seen().len(), 2);
    }
}

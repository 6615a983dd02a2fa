//! Dispatches requests, and creates the responses.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::access::Asked;
use super::faults::{self, Fault, Faults};
use super::patch::PatchKind;
use super::query::Query;
use super::selector::{FieldSelector, InvalidSelector, LabelSelector};
use super::status::Refusal;
use super::store::{Key, Store};
use super::watch::{self, Beginning, Scope, WatchRequest};
use super::{Parts, exec, log, parameters};

/// Largest request body; the limit of a real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// The connection is closed without a response.
#[derive(Debug, thiserror::Error)]
#[error("no answer is given")]
pub(super) struct NoResponse;

/// Answers one request, or injects a failure.
pub(super) async fn answer(request: Request<Incoming>, parts: Parts) -> Result<Answer, NoResponse> {
    parts.faults.count_request();
    let fault = wait_while_hung(&parts.faults).await;
    let path = request.uri().path().to_owned();
    let words: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let asked = Asked::of(request.method(), &words, &query);
    let rule = asked.as_ref().and_then(|asked| parts.faults.meet(&asked.to_string()));
    let namespace = match words.as_slice() {
        ["api", "v1", "namespaces", namespace, ..] => Some(*namespace),
        _ => None,
    };
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    if parts.token.get().is_some_and(|token| shown != Some(token)) {
        let refusal = refusal_of(401);
        return Ok(json_answer(refusal.code, &refusal.to_status()));
    }
    let allowed = match &asked {
        Some(asked) => parts.access.check(asked, namespace),
        None => Ok(()),
    };
    let mut retry_after = 1;
    let result = match (fault, rule, allowed) {
        (Fault::Refuse(code), ..) => Err(refusal_of(code)),
        (_, Some(faults::Answer::Status(code, after)), _) => {
            retry_after = after.unwrap_or(1);
            Err(refusal_of(code))
        }
        (_, Some(faults::Answer::Closed), _) => return Err(NoResponse),
        (_, _, Err(refusal)) => Err(refusal),
        (_, rule, Ok(())) => {
            let result = route(request, &words, &query, parts, fault == Fault::Gone).await;
            if rule == Some(faults::Answer::Lost) {
                return Err(NoResponse);
            }
            result
        }
    };
    Ok(result.unwrap_or_else(|refusal| {
        if refusal.plain {
            return with_type(refusal.code, full(refusal.message), "text/plain");
        }
        let mut response = json_answer(refusal.code, &refusal.to_status());
        if refusal.code == 429 {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
        }
        response
    }))
}

async fn wait_while_hung(faults: &Faults) -> Fault {
    let mut fault = faults.subscribe();
    loop {
        let now = *fault.borrow_and_update();
        if now != Fault::Hang || fault.changed().await.is_err() {
            return now;
        }
    }
}

fn refusal_of(code: u16) -> Refusal {
    match code {
        401 => Refusal::new(401, "Unauthorized", "Unauthorized"),
        403 => Refusal::new(
            403,
            "Forbidden",
            "pods is forbidden: User \"demo\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
        ),
        429 => Refusal::new(429, "TooManyRequests", "too many requests, please try again later"),
        503 => Refusal::new(503, "ServiceUnavailable", "apiserver not ready"),
        other => Refusal::new(other, "InternalError", "Internal error occurred"),
    }
}

async fn route(
    request: Request<Incoming>,
    words: &[&str],
    query: &Query,
    parts: Parts,
    gone: bool,
) -> Result<Answer, Refusal> {
    let Parts { store, faults, runtime, .. } = parts;
    let method = request.method().clone();
    let key = |namespace: &str, name: &str| -> Key { (namespace.to_owned(), name.to_owned()) };
    match (&method, words) {
        (&Method::GET, ["healthz" | "readyz" | "livez"]) => Ok(text_answer("ok")),
        (&Method::GET, ["version"]) => Ok(json_answer(200, &version())),
        (&Method::GET, ["api", "v1", "pods"]) => collection(None, query, store, faults, gone),
        (&Method::GET, ["api", "v1", "namespaces", namespace, "pods"]) => {
            collection(Some(namespace), query, store, faults, gone)
        }
        (&Method::POST, ["api", "v1", "namespaces", namespace, "pods"]) => {
            let body = body(request).await?;
            Ok(json_answer(201, &*store.create(namespace, body)?))
        }
        (
            &Method::GET,
            ["api", "v1", "namespaces", namespace, "pods", name]
            | ["api", "v1", "namespaces", namespace, "pods", name, "status" | "ephemeralcontainers"],
        ) => Ok(json_answer(200, &*store.get(&key(namespace, name))?)),
        (&Method::DELETE, ["api", "v1", "namespaces", namespace, "pods", name]) => {
            let grace = query.get("gracePeriodSeconds").and_then(|g| g.parse().ok());
            let asked = body(request).await.unwrap_or(Value::Null);
            let grace = grace.or_else(|| asked.get("gracePeriodSeconds").and_then(Value::as_u64));
            Ok(json_answer(200, &*store.delete(&key(namespace, name), grace)?))
        }
        (
            &Method::PUT,
            ["api", "v1", "namespaces", namespace, "pods", name, "ephemeralcontainers"],
        ) => {
            let pod = body(request).await?;
            Ok(json_answer(200, &*store.put_ephemeral(&key(namespace, name), pod)?))
        }
        (&Method::PATCH, ["api", "v1", "namespaces", namespace, "pods", name, rest @ ..]) => {
            let kind = patch_kind(&request)?;
            let change = patch_body(request, kind).await?;
            let key = key(namespace, name);
            match rest {
                [] => Ok(json_answer(200, &*store.patch(&key, kind, &change)?)),
                ["ephemeralcontainers"] => {
                    Ok(json_answer(200, &*store.patch_ephemeral(&key, kind, &change)?))
                }
                _ => Err(unknown()),
            }
        }
        (&Method::GET, ["api", "v1", "namespaces", namespace, "pods", name, "log"]) => {
            let key = key(namespace, name);
            log::check(name, query)?;
            let stream = log::open(&*store.get(&key)?, &key, query, runtime.get()).await?;
            Ok(with_type(200, StreamBody::new(stream).boxed_unsync(), "text/plain"))
        }
        (
            &Method::GET | &Method::POST,
            ["api", "v1", "namespaces", namespace, "pods", name, "exec"],
        ) => {
            let key = key(namespace, name);
            let container = log::container(&*store.get(&key)?, &key, query)?;
            exec::start(request, &key, &container, query, runtime.get())
        }
        (_, ["api", "v1", "namespaces", namespace, "secrets", rest @ ..]) => {
            secret(request, namespace, rest, &store).await
        }
        (&Method::GET, ["api", "v1", "namespaces", namespace, "events"]) => {
            let fields = query.get("fieldSelector").unwrap_or_default();
            let list = store.events().list(namespace, fields);
            Ok(json_answer(200, &list.map_err(|e| Refusal::bad_request(e.to_string()))?))
        }
        _ => Err(unknown()),
    }
}

/// Requests for Secrets.
async fn secret(
    request: Request<Incoming>,
    namespace: &str,
    rest: &[&str],
    store: &Store,
) -> Result<Answer, Refusal> {
    let secrets = store.secrets();
    let key = |name: &str| -> Key { (namespace.to_owned(), name.to_owned()) };
    match (&request.method().clone(), rest) {
        (&Method::POST, []) => {
            let body = body(request).await?;
            Ok(json_answer(201, &secrets.create(namespace, body)?))
        }
        (&Method::GET, [name]) => Ok(json_answer(200, &secrets.get(&key(name))?)),
        (&Method::DELETE, [name]) => Ok(json_answer(200, &secrets.delete(&key(name))?)),
        _ => Err(unknown()),
    }
}

fn unknown() -> Refusal {
    Refusal::new(404, "NotFound", "the server could not find the requested resource")
}

fn collection(
    namespace: Option<&str>,
    query: &Query,
    store: Store,
    faults: Faults,
    gone: bool,
) -> Result<Answer, Refusal> {
    let invalid = |e: InvalidSelector| Refusal::bad_request(e.to_string());
    let scope = Scope {
        namespace: namespace.map(str::to_owned),
        labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(invalid)?,
        fields: FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(invalid)?,
    };
    let from = parameters::version(query)?;
    if gone && let Some(version) = from.filter(|version| *version > 0) {
        return Err(Refusal::expired(version, version.saturating_add(1)));
    }
    if query.flag("watch") {
        let timeout = query.get("timeoutSeconds").and_then(|t| t.parse().ok());
        let bookmarks = query.flag("allowWatchBookmarks");
        // Without a version, initial events count as requested.
        let beginning = match from.filter(|_| !query.flag("sendInitialEvents")) {
            None | Some(0) if bookmarks => Beginning::StateThenBookmark,
            None | Some(0) => Beginning::State,
            Some(version) => Beginning::After(version),
        };
        let wish =
            WatchRequest { scope, beginning, bookmarks, timeout: timeout.map(Duration::from_secs) };
        let body = StreamBody::new(watch::stream(store, faults, wish));
        return Ok(with_type(200, body.boxed_unsync(), "application/json"));
    }
    let (pods, version) = store.list();
    if let Some(asked) = from.filter(|asked| *asked > version) {
        return Err(Refusal::too_large(asked, version));
    }
    // Every list is complete: `limit` is optional for a server.
    let covered = pods.iter().filter(|pod| scope.covers(pod));
    // The kind is given by the list.
    let parts = ["metadata", "spec", "status"];
    let item = |pod: &Arc<Value>| {
        let part = |key: &str| Some((key.to_owned(), pod.get(key)?.clone()));
        Value::Object(parts.into_iter().filter_map(part).collect())
    };
    let items: Vec<_> = covered.map(item).collect();
    let list = json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()},
        "items": items,
    });
    Ok(json_answer(200, &list))
}

fn patch_kind(request: &Request<Incoming>) -> Result<PatchKind, Refusal> {
    let header = request.headers().get(CONTENT_TYPE);
    let kind = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    PatchKind::of(kind)
        .ok_or_else(|| Refusal::new(415, "UnsupportedMediaType", "415: Unsupported Media Type"))
}

/// A patch, or why it is not valid, as the real server reports it for each kind.
async fn patch_body(request: Request<Incoming>, kind: PatchKind) -> Result<Value, Refusal> {
    let bytes = bytes(request).await?;
    let prefix = if kind == PatchKind::Strategic { "" } else { "error decoding patch: " };
    let patch = serde_json::from_slice::<Value>(&bytes).map_err(|e| {
        let why =
            if e.is_eof() { "unexpected end of JSON input".to_owned() } else { e.to_string() };
        Refusal::bad_request(format!("{prefix}{why}"))
    })?;
    if kind != PatchKind::Json && patch.is_array() {
        let why = "json: cannot unmarshal array into Go value of type map[string]interface {}";
        return Err(Refusal::bad_request(format!("{prefix}{why}")));
    }
    Ok(patch)
}

async fn bytes(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|e| {
        Refusal::new(413, "RequestEntityTooLarge", format!("cannot read the request body: {e}"))
    })?;
    Ok(body.to_bytes())
}

async fn body(request: Request<Incoming>) -> Result<Value, Refusal> {
    serde_json::from_slice(&bytes(request).await?)
        .map_err(|e| Refusal::bad_request(format!("error decoding the request body: {e}")))
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.2",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn json_answer(code: u16, value: &Value) -> Answer {
    with_type(code, full(value.to_string()), "application/json")
}

fn text_answer(text: &str) -> Answer {
    with_type(200, full(text.to_owned()), "text/plain")
}

fn full(text: String) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn with_type(code: u16, body: UnsyncBoxBody<Bytes, io::Error>, kind: &'static str) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let header = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, header);
    response
}

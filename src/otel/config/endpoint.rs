//! Converts the value of an endpoint variable to the URL of requests.

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};

use super::{Ignored, Protocol, Variable};
use crate::Signal;

const HTTP_FORM: &str = "a URL such as `http://collector:4318` or `https://collector:4318`, \
                         without user name or password";
const GRPC_FORM: &str = "a URL such as `http://collector:4317` or `https://collector:4317`, \
                         without user name or password";

/// The signal's path is appended to a general endpoint; that of a signal is used unchanged.
pub(super) fn of_http(said: &Variable, signal: Signal) -> Result<Uri, Ignored> {
    let uri = parse(said, &said.value, HTTP_FORM)?;
    if said.own {
        return Ok(uri);
    }
    let base = uri.path().trim_end_matches('/');
    let path = match uri.query() {
        Some(query) => format!("{base}/{}?{query}", signal.http_path()),
        None => format!("{base}/{}", signal.http_path()),
    };
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| said.not(HTTP_FORM))?);
    Uri::from_parts(parts).map_err(|_| said.not(HTTP_FORM))
}

/// The scheme decides whether TLS is used; without a scheme, `insecure` does. A path is ignored.
pub(super) fn of_grpc(said: &Variable, insecure: bool) -> Result<Uri, Ignored> {
    let scheme = match (said.value.contains("://"), insecure) {
        (true, _) => "",
        (false, true) => "http://",
        (false, false) => "https://",
    };
    let uri = parse(said, &format!("{scheme}{}", said.value), GRPC_FORM)?;
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| said.not(GRPC_FORM))
}

/// The specification's default.
pub(super) fn local(protocol: Protocol, signal: Signal) -> Uri {
    match (protocol, signal) {
        (Protocol::Grpc, _) => Uri::from_static("http://localhost:4317/"),
        (_, Signal::Logs) => Uri::from_static("http://localhost:4318/v1/logs"),
        (_, Signal::Traces) => Uri::from_static("http://localhost:4318/v1/traces"),
        (_, Signal::Metrics) => Uri::from_static("http://localhost:4318/v1/metrics"),
    }
}

fn parse(said: &Variable, text: &str, form: &'static str) -> Result<Uri, Ignored> {
    let uri: Uri = text.parse().map_err(|_| said.not(form))?;
    let web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let user =
        uri.authority().is_some_and(|authority: &Authority| authority.as_str().contains('@'));
    if web && host && !user { Ok(uri) } else { Err(said.not(form)) }
}

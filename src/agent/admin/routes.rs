//! What is answered to which request.

use std::net::IpAddr;

use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::body::{Outbox, Text};
use crate::agent::readiness::Readiness;
use crate::metrics::{Format, Metrics, ScraperId};

const PLAIN: &str = "text/plain; charset=utf-8";

const INDEX: &str = concat!(
    "ephemon ",
    env!("CARGO_PKG_VERSION"),
    ": metrics of ephemeral containers\n\n",
    "/metrics  figures, Prometheus text or OpenMetrics\n",
    "/healthz  200 while the agent runs\n",
    "/readyz   200 when it has seen every container; until then 503 and what is missing\n",
);

/// What the server has to show. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Site {
    metrics: Metrics,
    readiness: Readiness,
}

// === impl Site ===

impl Site {
    pub(super) fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self { metrics, readiness }
    }

    pub(super) fn answer<B>(
        &self,
        request: &Request<B>,
        peer: IpAddr,
        outbox: &Outbox,
    ) -> Response<Text> {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/" | "/metrics" | "/healthz" | "/readyz" if !read => {
                let mut refusal =
                    plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
                let allowed = HeaderValue::from_static("GET, HEAD");
                refusal.headers_mut().insert(ALLOW, allowed);
                refusal
            }
            "/" => plain(StatusCode::OK, INDEX),
            "/metrics" => self.metrics(request, peer, outbox),
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            _ => {
                plain(StatusCode::NOT_FOUND, "nothing is here; try /metrics, /healthz or /readyz\n")
            }
        }
    }

    fn metrics<B>(&self, request: &Request<B>, peer: IpAddr, outbox: &Outbox) -> Response<Text> {
        let headers = request.headers();
        let format = Format::negotiate(&accept(headers));
        // HEAD is no scrape: its body is never sent.
        let scraper = (request.method() == Method::GET).then(|| {
            let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
            ScraperId::new(peer, &String::from_utf8_lossy(agent.unwrap_or_default()))
        });
        let scrape = self.metrics.scrape(format, scraper.as_ref());
        let body = Text::with_receipt(scrape.body, scrape.receipt, outbox);
        respond(StatusCode::OK, format.content_type(), body)
    }

    fn ready(&self) -> Response<Text> {
        let missing = self.readiness.missing();
        if missing.is_empty() {
            return plain(StatusCode::OK, "ready\n");
        }
        let mut text = String::from("not ready, still missing:\n");
        for what in missing {
            text.extend(["- ", what, "\n"]);
        }
        respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, Text::new(text))
    }
}

/// The `Accept` lines as one; several lines mean the same as one with commas (RFC 9110 §5.3).
fn accept(headers: &HeaderMap) -> String {
    let lines: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Text> {
    respond(status, PLAIN, Text::new(text))
}

fn respond(status: StatusCode, kind: &'static str, body: Text) -> Response<Text> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

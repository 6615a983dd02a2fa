//! What is answered to which request.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tracing::field::Empty;

use super::body::{Delivery, Outbox, Text};
use crate::agent::readiness::Readiness;
use crate::metrics::{Format, Metrics, ScraperId};

/// Scrapes whose texts may be in memory at once, for clients that read slowly.
const MAX_SCRAPES: usize = 16;

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
    scrapes: Arc<Semaphore>,
}

// === impl Site ===

impl Site {
    pub(super) fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self { metrics, readiness, scrapes: Arc::new(Semaphore::new(MAX_SCRAPES)) }
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
        let slot = Arc::clone(&self.scrapes).try_acquire_owned();
        let Some(slot) = slot.ok().filter(|_| !self.metrics.is_busy()) else {
            let busy = "too many scrapes are being read at once; try again in a moment\n";
            let mut refusal = plain(StatusCode::SERVICE_UNAVAILABLE, busy);
            refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return refusal;
        };
        let headers = request.headers();
        let format = Format::negotiate(&accept(headers));
        // HEAD is no scrape: its body is never sent.
        let scraper = (request.method() == Method::GET).then(|| {
            let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
            ScraperId::new(peer, &String::from_utf8_lossy(agent.unwrap_or_default()))
        });
        let span = tracing::info_span!("scrape", lines = Empty, bytes = Empty);
        let scrape = span.in_scope(|| self.metrics.scrape(format, scraper.as_ref()));
        span.record("lines", scrape.lines).record("bytes", scrape.body.len());
        let delivery = Delivery { receipt: scrape.receipt, slot };
        let body = Text::delivered(scrape.body, delivery, outbox);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;

    use hyper::body::Body;

    use super::*;
    use crate::capture::books::Books;
    use crate::discovery::inventory::Inventory;
    use crate::metrics::Options;
    use crate::vitals::Vitals;

    fn site() -> Site {
        let vitals = Vitals::new().unwrap();
        let (books, inventory) = (Books::default(), Inventory::default());
        let metrics = Metrics::new(books, inventory, vitals, Options::default());
        Site::new(metrics, Readiness::default())
    }

    fn scrape(site: &Site, outbox: &Outbox) -> Response<Text> {
        let request = Request::get("/metrics").body(()).unwrap();
        site.answer(&request, IpAddr::from([127, 0, 0, 1]), outbox)
    }

    #[test]
    fn texts_that_nobody_reads_are_bounded() {
        let (site, outbox) = (site(), Outbox::default());
        let mut unread: Vec<_> = (0..MAX_SCRAPES).map(|_| scrape(&site, &outbox)).collect();
        assert!(unread.iter().all(|answer| answer.status() == StatusCode::OK));
        let busy = scrape(&site, &outbox);
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(busy.headers().contains_key(RETRY_AFTER));
        unread.pop();
        assert_eq!(scrape(&site, &outbox).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_text_that_is_being_written_keeps_its_place_until_it_is_with_the_kernel() {
        let (site, outbox) = (site(), Outbox::default());
        for _ in 0..MAX_SCRAPES {
            let mut body = scrape(&site, &outbox).into_body();
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            assert!(frame.is_some());
        }
        assert_eq!(scrape(&site, &outbox).status(), StatusCode::SERVICE_UNAVAILABLE);
        outbox.confirm();
        assert_eq!(scrape(&site, &outbox).status(), StatusCode::OK);
    }
}

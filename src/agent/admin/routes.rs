//! Which request gets which response, and which clients may send it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_metrics::{Format, Metrics, ScraperId};
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT,
    WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tracing::field::Empty;

use super::body::{Delivery, Outbox, Text};
use super::site_page::{Client, Refusal, SitePage, names_no_other_host};
use super::web::{Rules, Verdict};
use crate::readiness::Readiness;
use crate::state::StateReader;

/// A step of the capture thread takes milliseconds; on a node that is short of CPU or memory, seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

const PLAIN: &str = "text/plain; charset=utf-8";

const INDEX: &str = concat!(
    "ephemon ",
    env!("CARGO_PKG_VERSION"),
    ": metrics of ephemeral containers\n\n",
    "/metrics  metrics, Prometheus text or OpenMetrics\n",
    "/healthz  200 while the agent runs; 503 when its capture thread makes no progress\n",
    "/readyz   200 after the first look at every container; until then 503 and what is missing\n",
    "/debug/state  settings, pods and containers, as JSON\n",
);

/// What the server can show. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Site {
    metrics: Metrics,
    readiness: Readiness,
    state: Option<StateReader>,
    page: Option<SitePage>,
}

/// The connection of a request.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    /// The rules that applied when the connection was opened.
    pub(super) rules: Arc<Rules>,
    /// Whether the connection is encrypted.
    pub(super) encrypted: bool,
    /// Whether the client presented a certificate that the client authority signed.
    pub(super) verified: bool,
    /// True once the agent stops.
    pub(super) ending: watch::Receiver<bool>,
}

// === impl Site ===

impl Site {
    pub(super) fn new(metrics: Metrics, readiness: Readiness, state: Option<StateReader>) -> Self {
        Self { metrics, readiness, state, page: None }
    }

    /// Serves the job page.
    pub(super) fn with_page(self, page: Option<SitePage>) -> Self {
        Self { page, ..self }
    }

    pub(super) async fn answer<B>(
        &self,
        request: &Request<B>,
        channel: &Channel,
        outbox: &Outbox,
    ) -> Response<Text> {
        let path = request.uri().path();
        let probe = matches!(path, "/healthz" | "/readyz");
        if !probe && let Some(refusal) = channel.refuses(request.headers(), outbox).await {
            return refusal;
        }
        let route = || ephemon_page::Route::of(path, request.uri().query());
        if let Some((page, route)) = self.page.as_ref().and_then(|page| Some((page, route()?))) {
            let client =
                Client { is_authenticated: channel.is_authenticated(), peer: outbox.seat().peer() };
            let ways = (outbox, &channel.ending);
            let answer =
                page.answer(route, request.method(), request.headers(), client, ways).await;
            return answer.unwrap_or_else(refused);
        }
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/" | "/metrics" | "/healthz" | "/readyz" | "/debug/state" if !read => {
                refused(Refusal::Method)
            }
            "/" => plain(StatusCode::OK, INDEX),
            "/metrics" => self.metrics(request, outbox),
            "/healthz" => self.health(),
            "/readyz" => self.ready(),
            "/debug/state"
                if !channel.is_authenticated() && !names_no_other_host(request.headers()) =>
            {
                refused(Refusal::OtherHost)
            }
            "/debug/state" => self.state(outbox),
            _ => plain(
                StatusCode::NOT_FOUND,
                "not found; use /metrics, /healthz, /readyz or /debug/state\n",
            ),
        }
    }

    fn metrics<B>(&self, request: &Request<B>, outbox: &Outbox) -> Response<Text> {
        let seat = outbox.seat();
        let Some(room) = seat.scrape().filter(|_| !self.metrics.is_busy()) else {
            return busy("too many scrapes are in progress; try again later\n");
        };
        let headers = request.headers();
        let format = Format::negotiate(&accept(headers));
        // HEAD does not count as a scrape, because no body is sent.
        let scraper = (request.method() == Method::GET).then(|| {
            let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
            let agent = String::from_utf8_lossy(agent.unwrap_or_default());
            ScraperId::new(seat.peer(), &agent).on(seat.number())
        });
        let span = tracing::info_span!("scrape", lines = Empty, bytes = Empty);
        let scrape = span.in_scope(|| self.metrics.scrape(format, scraper.as_ref()));
        span.record("lines", scrape.lines).record("bytes", scrape.body.len());
        let delivery = Delivery { receipt: scrape.receipt, room: Some(room), turn: None };
        let body = Text::delivered(scrape.body, delivery, outbox);
        respond(StatusCode::OK, format.content_type(), body)
    }

    /// Alive, unless the capture thread is at one step for so long that it will not end: the kubelet
    /// then starts the agent anew.
    fn health(&self) -> Response<Text> {
        let busy = self.state.as_ref().and_then(|state| state.heartbeat.busy_for(Instant::now()));
        match busy.filter(|busy| *busy >= STUCK_AFTER) {
            None => plain(StatusCode::OK, "ok\n"),
            Some(busy) => {
                let seconds = busy.as_secs();
                let text = format!("the capture thread has made no progress for {seconds} s\n");
                respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, Text::new(text))
            }
        }
    }

    fn state(&self, outbox: &Outbox) -> Response<Text> {
        let Some(state) = &self.state else {
            return plain(StatusCode::NOT_FOUND, "this agent shows no state\n");
        };
        // Its text takes memory until it is read, as that of a scrape does.
        // The state first: a place for its text may cost another client its own.
        let read = state.read().and_then(|read| Some((read, outbox.seat().scrape()?)));
        let Some(((state, turn), room)) = read else {
            return busy("another state is being read; try again in a moment\n");
        };
        let text = format!("{state:#}\n");
        let delivery = Delivery { receipt: None, room: Some(room), turn: Some(turn.into()) };
        let body = Text::delivered(text.into(), delivery, outbox);
        respond(StatusCode::OK, "application/json", body)
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

// === impl Channel ===

impl Channel {
    /// Whether a password or a client certificate is demanded, which then was right.
    fn is_authenticated(&self) -> bool {
        let demands = |tls: &super::web::Tls| tls.demands_client();
        self.rules.users.is_some() || self.rules.tls.as_ref().is_some_and(demands)
    }

    /// The error response if the client may not send this request, or nothing if it may.
    async fn refuses(&self, headers: &HeaderMap, outbox: &Outbox) -> Option<Response<Text>> {
        if let Some(tls) = &self.rules.tls {
            if !self.encrypted {
                let text = "this port uses TLS: use https://; only probes are answered over \
                            http://\n";
                return Some(plain(StatusCode::BAD_REQUEST, text));
            }
            if tls.demands_client() && !self.verified {
                let text = "a client certificate is required\n";
                return Some(plain(StatusCode::FORBIDDEN, text));
            }
        }
        let users = self.rules.users.as_ref()?;
        match users.check(headers.get(AUTHORIZATION), outbox.seat().peer()).await {
            Verdict::Known => None,
            Verdict::Busy => {
                Some(busy("another password from this address is being checked; try again later\n"))
            }
            Verdict::Unknown => {
                let mut refusal =
                    plain(StatusCode::UNAUTHORIZED, "a user name and a password are required\n");
                let scheme = HeaderValue::from_static("Basic realm=\"ephemon\"");
                refusal.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                Some(refusal)
            }
        }
    }
}

/// All `Accept` lines as one; several lines mean the same as one with commas (RFC 9110 §5.3).
fn accept(headers: &HeaderMap) -> String {
    let lines: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

fn refused(why: Refusal) -> Response<Text> {
    match why {
        Refusal::Busy => {
            busy("too many requests of the job page are in progress; try again later\n")
        }
        Refusal::OtherHost => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "without a password or a client certificate, use the agent's address or localhost as \
             the host; see --web-config-file\n",
        ),
        Refusal::Method => {
            let mut refusal =
                plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are supported\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refusal
        }
    }
}

fn busy(text: &'static str) -> Response<Text> {
    let mut refusal = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    refusal
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
    use std::net::IpAddr;
    use std::pin::Pin;

    use ephemon_capture::readings::Readings;
    use ephemon_discovery::inventory::Inventory;
    use ephemon_metrics::Options;
    use ephemon_self_metrics::{Closed, SelfMetrics};
    use hyper::body::Body;

    use super::*;
    use crate::admin::seats::{MAX_SCRAPES, Seats};

    struct Rig {
        site: Site,
        self_metrics: SelfMetrics,
        seats: Seats,
    }

    impl Rig {
        fn new() -> Self {
            let self_metrics = SelfMetrics::new().unwrap();
            let (readings, inventory) = (Readings::default(), Inventory::default());
            let metrics =
                Metrics::new(readings, inventory, self_metrics.clone(), Options::default());
            let site = Site::new(metrics, Readiness::default(), None);
            Self { site, seats: Seats::new(self_metrics.clone()), self_metrics }
        }

        fn outbox(&self, last: u8) -> Outbox {
            Outbox::new(self.seats.take(IpAddr::from([127, 0, 0, last])))
        }

        async fn scrape(&self, outbox: &Outbox) -> Response<Text> {
            self.get("/metrics", outbox).await
        }

        async fn get(&self, path: &str, outbox: &Outbox) -> Response<Text> {
            let request = Request::get(path).body(()).unwrap();
            let (rules, (_, ending)) = (Arc::default(), watch::channel(false));
            let channel = Channel { rules, encrypted: false, verified: false, ending };
            self.site.answer(&request, &channel, outbox).await
        }

        fn cut(&self) -> u64 {
            self.self_metrics.connections_closed_so_far(Closed::Room)
        }
    }

    #[tokio::test]
    async fn a_capture_thread_without_progress_is_no_health_and_one_that_waits_is() {
        let mut rig = Rig::new();
        let outbox = rig.outbox(1);
        assert_eq!(rig.get("/debug/state", &outbox).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(rig.get("/healthz", &outbox).await.status(), StatusCode::OK);
        let state = StateReader::of_nothing();
        let heartbeat = state.heartbeat.clone();
        rig.site.state = Some(state);
        let long_ago = Instant::now().checked_sub(STUCK_AFTER).unwrap();
        for (busy_since, status) in [
            (None, StatusCode::OK),
            (Some(Instant::now()), StatusCode::OK),
            (Some(long_ago), StatusCode::SERVICE_UNAVAILABLE),
        ] {
            match busy_since {
                Some(since) => heartbeat.work(since),
                None => heartbeat.wait(),
            }
            assert_eq!(rig.get("/healthz", &outbox).await.status(), status);
        }
        heartbeat.wait();
        assert_eq!(rig.get("/healthz", &outbox).await.status(), StatusCode::OK);
        let answer = rig.get("/debug/state", &outbox).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    }

    #[tokio::test]
    async fn texts_that_nobody_reads_are_bounded_and_their_slowest_reader_makes_room() {
        let rig = Rig::new();
        let (slow, scraper) = (rig.outbox(1), rig.outbox(2));
        let mut unread = Vec::new();
        for _ in 0..MAX_SCRAPES {
            unread.push(rig.scrape(&slow).await);
        }
        assert!(unread.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(rig.cut(), 0);
        assert_eq!(rig.scrape(&scraper).await.status(), StatusCode::OK);
        assert_eq!(rig.cut(), 1);
        let busy = rig.scrape(&slow).await;
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE, "it was cut");
        assert!(busy.headers().contains_key(RETRY_AFTER));
    }

    #[tokio::test]
    async fn a_text_that_is_being_written_keeps_its_room_until_it_is_with_the_kernel() {
        let rig = Rig::new();
        let (slow, scraper) = (rig.outbox(1), rig.outbox(2));
        for _ in 0..MAX_SCRAPES {
            let mut body = rig.scrape(&slow).await.into_body();
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            assert!(frame.is_some());
        }
        slow.answers();
        assert!(slow.confirm());
        assert_eq!(rig.scrape(&scraper).await.status(), StatusCode::OK);
        assert_eq!(rig.cut(), 0, "there was room");
        for _ in 0..MAX_SCRAPES {
            let mut body = rig.scrape(&slow).await.into_body();
            assert!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some());
        }
        assert_eq!(rig.scrape(&scraper).await.status(), StatusCode::OK);
        assert_eq!(rig.cut(), 1, "there was none");
    }
}

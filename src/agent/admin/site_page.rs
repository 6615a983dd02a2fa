//! The job page's part of the server: which of its requests are answered, with which headers, and how
//! many answers are in memory at once.

use std::net::IpAddr;
use std::time::Duration;

use ephemon_page::{Answer, HEADERS, Page, Route, Sort, is_address_or_localhost};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::{Delivery, Outbox, Text};
use super::events::{Events, MAX_CLIENTS};
use super::places::{Place, Places};

/// Most answers that are in memory at once.
const MAX_ANSWERS: usize = 4;
/// Memory of all answers, bytes, and of one that is being made: the server has one thread.
pub(super) const ANSWERS_BYTES: usize =
    MAX_ANSWERS * ephemon_page::MAX_ANSWER_BYTES + ephemon_page::MAKING_BYTES;
/// How long a request waits for others to be read. A browser asks several things at once.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why log lines are not served to everybody.
const NO_LOG: &str = "log lines are served to clients with a password or a client certificate, and \
                      to those of a loopback address, as with kubectl port-forward";

/// The page with what bounds it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SitePage {
    page: Page,
    answers: Places,
    clients: Places,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    /// A password or a client certificate was demanded and is right.
    pub(super) is_authenticated: bool,
    /// Its address.
    pub(super) peer: IpAddr,
}

/// Why there is no answer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many answers are being read, or too many clients follow changes.
    Busy,
    /// The request is for another host.
    OtherHost,
    /// Only GET and HEAD are supported.
    Method,
}

// === impl SitePage ===

impl SitePage {
    pub(super) fn new(page: Page) -> Self {
        let [answers, clients] = [MAX_ANSWERS, MAX_CLIENTS].map(|most| Places::new(most, most / 2));
        Self { page, answers, clients }
    }

    /// The answer to a request, or why there is none.
    pub(super) async fn answer(
        &self,
        route: Route,
        method: &Method,
        headers: &HeaderMap,
        client: Client,
        (outbox, ending): (&Outbox, &watch::Receiver<bool>),
    ) -> Result<Response<Text>, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        if !client.is_authenticated && !names_no_other_host(headers) {
            return Err(Refusal::OtherHost);
        }
        if let Route::Events(job) = route {
            let place = self.clients.try_take(client.peer).ok_or(Refusal::Busy)?;
            let events = Events::new(&self.page, job, place, ending.clone());
            return Ok(respond(200, Sort::Events, Text::events(events)));
        }
        let log_refusal = (!client.may_read_logs()).then_some(NO_LOG);
        if let Route::Asset(_) | Route::OpenApi = route {
            // Its text is the program's own.
            let Answer { status, sort, body } = self.page.answer(&route, log_refusal);
            return Ok(respond(status, sort, Text::new(body)));
        }
        let turn = self.turn(client.peer).await.ok_or(Refusal::Busy)?;
        let Answer { status, sort, body } = self.page.answer(&route, log_refusal);
        let delivery = Delivery { receipt: None, room: None, turn: Some(turn) };
        Ok(respond(status, sort, Text::delivered(body, delivery, outbox)))
    }

    async fn turn(&self, peer: IpAddr) -> Option<Place> {
        timeout(TURN_TIMEOUT, self.answers.take(peer)).await.ok()?
    }
}

// === impl Client ===

impl Client {
    fn may_read_logs(self) -> bool {
        self.is_authenticated || self.peer.is_loopback()
    }
}

/// Whether the request's host is an address or `localhost`. Programs that name no host are no browsers.
pub(super) fn names_no_other_host(headers: &HeaderMap) -> bool {
    let hosts = headers.get_all(HOST);
    hosts.iter().all(|host| host.to_str().is_ok_and(is_address_or_localhost))
}

fn respond(status: u16, sort: Sort, body: Text) -> Response<Text> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sort.content_type()));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use ephemon_page::Board;
    use ephemon_self_metrics::SelfMetrics;

    use super::*;
    use crate::admin::seats::Seats;
    use crate::page::page_of;

    struct Rig {
        page: SitePage,
        outbox: Outbox,
        ending: watch::Receiver<bool>,
    }

    fn rig() -> Rig {
        let seats = Seats::new(SelfMetrics::new().unwrap());
        let outbox = Outbox::new(seats.take(IpAddr::from([10, 0, 0, 1])));
        let (_, ending) = watch::channel(false);
        Rig { page: SitePage::new(page_of(Board::default())), outbox, ending }
    }

    impl Rig {
        async fn get(
            &self,
            path: &str,
            host: Option<&'static str>,
            is_authenticated: bool,
        ) -> Result<Response<Text>, Refusal> {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, HeaderValue::from_static(host));
            }
            let client = Client { is_authenticated, peer: IpAddr::from([10, 0, 0, 1]) };
            let route = Route::of(path, None).unwrap();
            let ways = (&self.outbox, &self.ending);
            self.page.answer(route, &Method::GET, &headers, client, ways).await
        }
    }

    #[tokio::test]
    async fn a_name_that_anybody_could_have_is_refused_unless_the_client_is_known() {
        let rig = rig();
        for host in ["evil.example", "evil.example:9911", "127.0.0.1.evil.example", "[x]"] {
            let refused = rig.get("/api/v1/jobs", Some(host), false).await.unwrap_err();
            assert_eq!(refused, Refusal::OtherHost, "{host}");
            assert!(rig.get("/api/v1/jobs", Some(host), true).await.is_ok());
        }
        for host in ["127.0.0.1:9911", "localhost", "LOCALHOST:1", "[::1]:9911", "10.1.2.3"] {
            assert!(rig.get("/", Some(host), false).await.is_ok(), "{host}");
        }
        assert!(rig.get("/", None, false).await.is_ok());
    }

    #[tokio::test]
    async fn every_answer_has_the_headers_that_keep_the_page_to_itself() {
        let rig = rig();
        for path in [
            "/",
            "/page/main.js",
            "/api/v1/jobs",
            "/api/v1/openapi.json",
            "/api/v1/no",
            "/api/v1/events",
        ] {
            let answer = rig.get(path, None, false).await.unwrap();
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none';"), "{path}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_and_followers_of_changes_are_bounded() {
        let mut rig = rig();
        rig.page.answers = Places::new(1, 1);
        let peer = IpAddr::from([10, 0, 0, 1]);
        let unread = rig.get("/api/v1/jobs", None, false).await.unwrap();
        assert!(rig.page.answers.try_take(peer).is_none(), "its text is still there");
        drop(unread);
        assert!(rig.page.answers.try_take(peer).is_some());
        let mut followers = Vec::new();
        for _ in 0..MAX_CLIENTS / 2 {
            followers.push(rig.get("/api/v1/events", None, false).await.unwrap());
        }
        let refused = rig.get("/api/v1/events", None, false).await.unwrap_err();
        assert_eq!(refused, Refusal::Busy);
        followers.pop();
        assert!(rig.get("/api/v1/events", None, false).await.is_ok());
    }

    #[test]
    fn log_lines_are_for_known_clients_and_loopback_addresses() {
        let may = |is_authenticated, peer: &str| {
            Client { is_authenticated, peer: peer.parse().unwrap() }.may_read_logs()
        };
        assert!(may(true, "10.0.0.1") && may(false, "127.0.0.1") && may(false, "::1"));
        assert!(!may(false, "10.0.0.1") && !may(false, "fe80::1"));
    }
}

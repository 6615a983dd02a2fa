//! What the browser is answered: the page's own files, the list of all nodes, and each job by its
//! node's agent.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ephemon_base::visible;
use ephemon_client::{Agent, Error, Events, Fleet, Response as Answer, Source, Trouble};
use ephemon_page::{Asset, HEADERS, OPENAPI, Route, Sort, is_address_or_localhost};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Mutex;

use super::merged::Merged;
use crate::screen::tell;

/// Between two looks at all nodes, and what each of them adds to it.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const LOOK_INTERVAL_OF_NODE: Duration = Duration::from_millis(50);
/// After this time agents are looked for again: pods come and go.
const FIND_INTERVAL: Duration = Duration::from_mins(1);
/// How long a stream of changes of the list lives; the browser asks again.
const STREAM_LIFE: Duration = Duration::from_secs(45);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The site.
pub(crate) struct Site {
    source: Source,
    /// The last list, if there is one. A node that does not answer holds up the next one for long, and
    /// nothing but it.
    latest: RwLock<Option<Arc<Merged>>>,
    looking: Mutex<Looking>,
}

/// What one request at a time does for all.
struct Looking {
    fleet: Fleet,
    found: Instant,
    listed: Option<Instant>,
    troubles: Vec<Trouble>,
}

// === impl Site ===

impl Site {
    pub(crate) fn new(source: Source, fleet: Fleet) -> Self {
        let looking = Looking { fleet, found: Instant::now(), listed: None, troubles: Vec::new() };
        Self { source, latest: RwLock::default(), looking: Mutex::new(looking) }
    }

    /// The answer to a request.
    pub(crate) async fn answer<B>(self: &Arc<Self>, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return failure(405, "only GET and HEAD are supported");
        }
        // Another site's name may lead here (DNS rebinding).
        let names = request.headers().get_all(HOST);
        if !names.iter().all(|name| name.to_str().is_ok_and(is_address_or_localhost)) {
            return failure(421, "the host must be an address or localhost");
        }
        let uri = request.uri();
        let Some(route) = Route::of(uri.path(), uri.query()) else {
            return failure(404, "not found");
        };
        let path = uri.path_and_query().map_or("", |it| it.as_str());
        let path = path.strip_prefix("/api/v1/").unwrap_or_default();
        match route {
            Route::Asset(asset) => file(asset),
            Route::OpenApi => respond(200, Sort::Json, full(Bytes::from_static(OPENAPI))),
            Route::Jobs => respond(200, Sort::Json, full(self.merged().await.body())),
            Route::Job(id) | Route::Samples(id, _) | Route::Log(id, ..) => {
                match self.agent(id.as_str()).await {
                    Some(agent) => relay(&agent, agent.get(path).await),
                    None => {
                        failure(404, "no such job is shown: it is unknown, or ended an hour ago")
                    }
                }
            }
            Route::Events(None) => respond(200, Sort::Events, self.changes()),
            Route::Events(Some(id)) => match self.agent(id.as_str()).await {
                Some(agent) => match agent.events(id.as_str()).await {
                    Ok(events) => respond(200, Sort::Events, stream_of(events)),
                    // The page asks from time to time, then.
                    Err(error) => failed(&agent, &error),
                },
                None => failure(404, "no such job is shown"),
            },
            Route::Invalid(why) => failure(400, why),
            Route::Unknown => failure(404, "not found"),
        }
    }

    /// The list of all nodes: not older than the interval, unless another request asks for it now.
    async fn merged(&self) -> Arc<Merged> {
        let latest = self.latest();
        let (mut looking, latest) = match (self.looking.try_lock(), latest) {
            (Ok(looking), latest) => (looking, latest),
            (Err(_), Some(latest)) => return latest,
            (Err(_), None) => (self.looking.lock().await, self.latest()),
        };
        let interval = looking.interval();
        match latest {
            Some(latest) if looking.listed.is_some_and(|at| at.elapsed() < interval) => latest,
            _ => self.look(&mut looking).await,
        }
    }

    fn latest(&self) -> Option<Arc<Merged>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self, looking: &mut Looking) -> Arc<Merged> {
        // If they cannot be looked for now, those that are known stay.
        if looking.found.elapsed() > FIND_INTERVAL {
            if let Ok(fleet) = Fleet::connect(&self.source).await {
                looking.fleet = fleet;
            }
            looking.found = Instant::now();
        }
        let listing = looking.fleet.jobs().await;
        let merged = Arc::new(Merged::new(&listing));
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&merged));
        looking.listed = Some(Instant::now());
        if looking.troubles != listing.troubles {
            tell(&listing.troubles);
            looking.troubles = listing.troubles;
        }
        merged
    }

    /// Whom to ask for a job.
    async fn agent(&self, id: &str) -> Option<Agent> {
        let known = self.latest().and_then(|latest| latest.agents.get(id).cloned());
        match known {
            Some(agent) => Some(agent),
            None => self.merged().await.agents.get(id).cloned(),
        }
    }

    /// A stream of changes of the list.
    fn changes(self: &Arc<Self>) -> Body {
        let start = (Arc::clone(self), None, Instant::now());
        let changes = stream::unfold(start, |(site, sent, began)| async move {
            while began.elapsed() < STREAM_LIFE {
                let change = site.merged().await.change;
                if sent != Some(change) {
                    let data = format!(
                        "retry: 2000\nevent: change\n\
                         data: {{\"jobs\":{change},\"job\":null,\"samples\":null,\"log\":null}}\n\n"
                    );
                    return Some((Ok(Frame::data(data.into())), (site, Some(change), began)));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            None
        });
        StreamBody::new(changes).boxed_unsync()
    }
}

// === impl Looking ===

impl Looking {
    fn interval(&self) -> Duration {
        let nodes = u32::try_from(self.fleet.agents().len()).unwrap_or(u32::MAX);
        LOOK_INTERVAL.saturating_add(LOOK_INTERVAL_OF_NODE.saturating_mul(nodes))
    }
}

fn file(asset: Asset) -> Response<Body> {
    respond(200, asset.sort(), full(Bytes::from_static(asset.content())))
}

/// An agent's answer. Only JSON is passed on: what else it says is no page of this site.
fn relay(agent: &Agent, answer: Result<Answer, Error>) -> Response<Body> {
    match answer {
        Ok(answer) if answer.is_json => respond(answer.status, Sort::Json, full(answer.body)),
        // The page asks again by itself.
        Ok(answer) if answer.status == 503 => {
            let mut response = failure(503, "the node's agent is busy");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Ok(answer) => {
            let error = Error::Refused { status: answer.status, text: "no JSON".into() };
            failed(agent, &error)
        }
        Err(error) => failed(agent, &error),
    }
}

fn failed(agent: &Agent, error: &Error) -> Response<Body> {
    failure(502, &format!("node {}: {error}", visible(agent.name())))
}

fn failure(status: u16, error: &str) -> Response<Body> {
    let body = serde_json::json!({"error": error}).to_string();
    respond(status, Sort::Json, full(body.into()))
}

fn full(body: Bytes) -> Body {
    Full::new(body).boxed_unsync()
}

/// A job's changes as its agent tells them.
fn stream_of(events: Events) -> Body {
    let pieces = stream::unfold(events, |mut events| async move {
        let piece = events.next().await?;
        Some((Ok(Frame::data(piece)), events))
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn respond(status: u16, sort: Sort, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sort.content_type()));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

//! What each request is answered, from the board, the history and the tails of logs.

use std::sync::Arc;

use bytes::Bytes;
use ephemon_base::clock;
use ephemon_history::History;
use ephemon_jobs::Identity;
use ephemon_logs::Tail;
use ephemon_model::PodUid;

use super::asset::Sort;
use super::board::{Board, Shown};
use super::cursors::Cursors;
use super::encode::{MAX_ANSWER_BYTES, encode};
use super::route::Route;
use super::template::Template;
use super::view::job::{JobAnswer, LinkView};
use super::view::jobs::{JobsAnswer, Summary};
use super::view::log::LogAnswer;
use super::view::samples::SamplesAnswer;
use super::view::{Failure, VERSION, ms};

/// Jobs of one answer.
const MAX_LISTED: usize = 300;
/// What an answer takes while it is made, bytes: the samples, which are copied where a reading comes
/// meanwhile, and a text that is moved when it grows.
pub const MAKING_BYTES: usize = ephemon_history::MAX_VIEW_BYTES + MAX_ANSWER_BYTES;

/// The page; cheap to clone.
#[derive(Debug, Clone)]
pub struct Page(Arc<Parts>);

/// What it is made from.
#[derive(Debug)]
pub struct Parts {
    /// The node's name in the API.
    pub node: String,
    /// The jobs that are shown.
    pub board: Board,
    /// What their containers used over time.
    pub history: History,
    /// Their last log lines.
    pub log: LogSource,
    /// The address of a run, of a job that has one.
    pub run_url: fn(&Identity) -> Option<String>,
    /// Where a job's trace is shown.
    pub trace_url: Option<Template>,
    /// Where a job's logs are shown.
    pub logs_url: Option<Template>,
}

/// Where log lines come from.
#[derive(Debug)]
pub enum LogSource {
    /// From here.
    Tail(Tail),
    /// From nowhere, and why, as a clause.
    None(&'static str),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// What kind of text it is.
    pub sort: Sort,
    /// The text.
    pub body: Bytes,
}

// === impl Page ===

impl Page {
    /// A page of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Answers a request. `log_refusal`: why this client gets no log lines, if so. A stream of events
    /// is not answered here, see [`Self::cursors`].
    pub fn answer(&self, route: &Route, log_refusal: Option<&'static str>) -> Answer {
        let now_ns = clock::now_ns();
        let board = &self.0.board;
        let with = |id: &PodUid, show: &dyn Fn(&Shown) -> Answer| match board.job(id, now_ns) {
            Some(shown) => show(&shown),
            None => failure(404, "no such job is shown: it is unknown, or ended an hour ago"),
        };
        match route {
            Route::Asset(asset) => {
                let body = Bytes::from_static(asset.content());
                Answer { status: 200, sort: asset.sort(), body }
            }
            Route::OpenApi => {
                let body = Bytes::from_static(crate::OPENAPI);
                Answer { status: 200, sort: Sort::Json, body }
            }
            Route::Jobs => self.jobs(now_ns),
            Route::Job(id) => with(id, &|shown| self.job(shown, now_ns)),
            Route::Samples(id, since) => with(id, &|shown| self.samples(shown, *since, now_ns)),
            Route::Log(id, after, container) => with(id, &|shown| {
                let uid = &shown.job.pod.uid;
                let answer = self.log(uid, *after, container.as_deref(), log_refusal);
                fitting(|_| encode(&answer))
            }),
            Route::Invalid(why) => failure(400, why),
            Route::Events(_) | Route::Unknown => {
                failure(404, "not found; /api/v1/openapi.json says what there is")
            }
        }
    }

    /// What tells whether there is something new, of one job or of the list alone.
    pub fn cursors(&self, job: Option<&PodUid>) -> Cursors {
        let Parts { board, history, log, .. } = &*self.0;
        let (jobs, of_job) = board.generations(job);
        let shown = job.filter(|_| of_job.is_some());
        let sequence = |job| match log {
            LogSource::Tail(tail) => tail.sequence(job),
            LogSource::None(_) => None,
        };
        Cursors {
            jobs,
            job: of_job,
            samples: shown.and_then(|job| history.generation(job)),
            log: shown.and_then(sequence),
        }
    }

    fn jobs(&self, now_ns: u64) -> Answer {
        let all = self.0.board.all(now_ns);
        fitting(|share| {
            let listed = MAX_LISTED / share;
            encode(&JobsAnswer {
                api_version: VERSION,
                node: &self.0.node,
                now_unix_ms: ms(now_ns),
                jobs: all.iter().take(listed).map(Summary::new).collect(),
                left_out: all.len().saturating_sub(listed),
            })
        })
    }

    fn job(&self, shown: &Shown, now_ns: u64) -> Answer {
        let links = self.links(shown, ms(now_ns));
        fitting(|share| encode(&JobAnswer::new(shown, (&self.0.node, share), ms(now_ns), &links)))
    }

    fn links(&self, shown: &Shown, now_ms: u64) -> Vec<LinkView> {
        let Parts { run_url, trace_url, logs_url, .. } = &*self.0;
        let of = |template: &Option<Template>| template.as_ref()?.expand(&shown.job, now_ms);
        let urls = [
            ("run", run_url(&shown.job.identity)),
            ("trace", of(trace_url)),
            ("logs", of(logs_url)),
        ];
        let leads = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        let links = urls.into_iter().filter_map(|(rel, url)| Some((rel, url.filter(leads)?)));
        links.map(|(rel, href)| LinkView { rel, href }).collect()
    }

    fn samples(&self, shown: &Shown, since_ms: u64, now_ns: u64) -> Answer {
        let containers = &shown.job.containers;
        let view = self.0.history.view(&shown.job.pod.uid, since_ms, |id| {
            containers.iter().any(|container| container.id.as_ref() == Some(id))
        });
        fitting(|share| {
            encode(&SamplesAnswer::new(&shown.job, (&view, share), since_ms, ms(now_ns)))
        })
    }

    fn log(
        &self,
        pod: &PodUid,
        after: u64,
        container: Option<&str>,
        refusal: Option<&'static str>,
    ) -> LogAnswer {
        match (&self.0.log, refusal) {
            (LogSource::None(why), _) => LogAnswer::none(why),
            (_, Some(why)) => LogAnswer::none(why),
            (LogSource::Tail(tail), None) => {
                // A client of an earlier agent: this one counts anew.
                let known = tail.sequence(pod).unwrap_or_default();
                let after = if after > known { 0 } else { after };
                LogAnswer::new(&tail.lines(pod, after, container), after, container.is_none())
            }
        }
    }
}

/// An answer with so many of its parts that it is not too large: all, a half, a quarter...
fn fitting(text: impl Fn(usize) -> Option<Bytes>) -> Answer {
    match [1, 2, 4, 8, 16, 64].into_iter().find_map(text) {
        Some(body) => Answer { status: 200, sort: Sort::Json, body },
        // Names have bounds, and so few parts fit: this does not happen.
        None => failure(500, "the answer is too large"),
    }
}

fn failure(status: u16, error: &str) -> Answer {
    let body = serde_json::to_vec(&Failure { error }).unwrap_or_default();
    Answer { status, sort: Sort::Json, body: body.into() }
}

#[cfg(test)]
mod tests;

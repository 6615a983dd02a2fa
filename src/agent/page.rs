//! The job page's flags, and what feeds it.

use ephemon_history::History;
use ephemon_jobs::Turn;
use ephemon_logs::Tail;
use ephemon_mask::job::Mode;
use ephemon_otlp::span;
use ephemon_page::{Board, LogSource, Page, Parts, Template};

/// Flags of the job page.
#[derive(Debug, Clone, clap::Args)]
pub struct PageArgs {
    /// Serve a page of this node's jobs at / and its API at /api/v1, under the same rules as /metrics.
    /// `jobs`: jobs, steps and usage over time; `logs`: also the last lines of exported logs, for
    /// clients with a password or a client certificate, and those of a loopback address. Requests
    /// without either must name the agent by address or as localhost
    #[arg(long, env = "EPHEMON_PAGE", value_name = "WHAT", value_enum, default_value = "off")]
    pub page: PageMode,

    /// Where the page links to for a job's trace; a URL with places such as `{trace_id}`,
    /// `{namespace}`, `{pod}`, `{repository}`, `{run_id}`, `{start_ms}`, `{end_ms}`
    #[arg(long, env = "EPHEMON_PAGE_TRACE_URL", value_name = "URL")]
    pub page_trace_url: Option<Template>,

    /// Where the page links to for a job's logs; a URL like that of --page-trace-url
    #[arg(long, env = "EPHEMON_PAGE_LOGS_URL", value_name = "URL")]
    pub page_logs_url: Option<Template>,
}

/// What the job page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PageMode {
    /// There is no page.
    Off,
    /// Jobs, without log lines.
    Jobs,
    /// Jobs and the last lines of their logs.
    Logs,
}

/// What is kept for the page. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct PageStore {
    pub(super) board: Board,
    pub(super) history: History,
    /// Where log lines are kept, if they are shown.
    pub(super) tail: Option<Tail>,
}

// === impl PageStore ===

impl PageStore {
    /// Nothing yet; `None` without a page.
    pub(super) fn new(args: &PageArgs) -> Option<Self> {
        let tail = (args.page == PageMode::Logs).then(Tail::default);
        (args.page != PageMode::Off).then(|| Self { tail, ..Self::default() })
    }

    /// The page of a node. `logs`: how logs are exported, if they are.
    pub(super) fn page(&self, args: &PageArgs, node: String, logs: Option<Mode>) -> Page {
        let log = match (&self.tail, logs) {
            (None, _) => LogSource::None("the agent runs with --page jobs; --page logs shows them"),
            (Some(_), None) => LogSource::None(
                "the agent collects no logs, because it has no place to export them to",
            ),
            (Some(_), Some(Mode::Raw)) => {
                LogSource::None("logs are exported without masks (--logs raw)")
            }
            (Some(_), Some(Mode::Off)) => LogSource::None("logs are off (--logs off)"),
            (Some(tail), Some(Mode::Masked)) => LogSource::Tail(tail.clone()),
        };
        Page::new(Parts {
            node,
            board: self.board.clone(),
            history: self.history.clone(),
            log,
            run_url: span::job_url,
            trace_url: args.page_trace_url.clone(),
            logs_url: args.page_logs_url.clone(),
        })
    }
}

/// Shows what a turn of the job tracker came to.
pub(super) fn show(board: Option<&Board>, turn: &Turn, now_ns: u64) {
    let Some(board) = board else { return };
    for job in &turn.reviewed {
        board.put(job.clone(), now_ns);
    }
    for pod in &turn.over {
        board.over(pod, now_ns);
    }
}

/// A page of a board and nothing else.
#[cfg(test)]
pub(super) fn page_of(board: Board) -> Page {
    let store = PageStore { board, ..PageStore::default() };
    let args = PageArgs { page: PageMode::Jobs, page_trace_url: None, page_logs_url: None };
    store.page(&args, "node".into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_shown_only_where_they_are_wanted_collected_and_masked() {
        let args = |page| PageArgs { page, page_trace_url: None, page_logs_url: None };
        assert!(PageStore::new(&args(PageMode::Off)).is_none());
        for (mode, logs, why) in [
            (PageMode::Jobs, Some(Mode::Masked), "--page jobs"),
            (PageMode::Logs, None, "collects no logs"),
            (PageMode::Logs, Some(Mode::Raw), "--logs raw"),
            (PageMode::Logs, Some(Mode::Off), "--logs off"),
            (PageMode::Logs, Some(Mode::Masked), "Tail("),
        ] {
            let store = PageStore::new(&args(mode)).unwrap();
            let page = store.page(&args(mode), "node".into(), logs);
            assert!(format!("{page:?}").contains(why), "{mode:?} {logs:?}");
        }
    }
}

//! `ephemon advice`: asks Prometheus, or agents, what jobs used, and prints what follows.

use std::collections::BTreeMap;
use std::time::Duration;

use ephemon_advice::{
    Advice, AnswerError, Counts, CountsError, Gathering, Kind, Labels, LeftOut, Matcher, Price,
    Queries, Question, Rule, Source, Usage, label_names, markdown, table, vector,
};
use ephemon_base::{clock, duration};
use hyper::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::web_access::{self, Server, WebAccess};

/// Most bytes of one answer of Prometheus.
const MOST_ANSWER_BYTES: usize = 128 << 20;
/// More than an agent's metrics have.
const MOST_PAGE_BYTES: usize = 64 << 20;
/// For one answer: Prometheus' own limit of a query is as long.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Longest time that is looked at.
const LONGEST_SINCE: Duration = Duration::from_hours(24 * 400);
/// Most windows of that time.
const MOST_WINDOWS: u128 = 10_000;

/// Say what runners should request, from what jobs used
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
THE RULE
  A request is the 95th percentile of jobs plus a fifth; a memory limit is the highest use that was seen \
  plus a fifth, and half more than now where the OOM killer came. CPU is rounded up to 100m, memory to \
  128Mi. Fewer than --min-jobs jobs of a kind: no advice. All of it: deploy/docs/advice.md

EXAMPLES
  kubectl -n monitoring port-forward svc/prometheus-operated 9090
  ephemon advice --prometheus http://localhost:9090 --since 14d
  ephemon advice --prometheus https://prometheus.example --bearer-token-file token \\
      --match repository=octo/hello --node-price 0.40 --node-cpus 8 --node-memory 32
  ephemon advice --agent http://10.0.0.7:9911 --agent http://10.0.0.8:9911 -o json")]
pub(super) struct Args {
    /// Ask this Prometheus, or what has its API; the URL of its root
    #[arg(long, value_name = "URL", required_unless_present = "agents", conflicts_with = "agents")]
    prometheus: Option<String>,

    /// Without Prometheus: take this agent's own counts. Can be given for each agent
    #[arg(long = "agent", value_name = "URL")]
    agents: Vec<String>,

    /// Look back so far, by Prometheus
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = long, conflicts_with = "agents")]
    since: Duration,

    /// Ask Prometheus for so much at a time, a day at most. Less, if it refuses for too many samples
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = window, conflicts_with = "agents")]
    window: Duration,

    /// Only jobs with this label: cluster, namespace, organization, repository (OWNER/NAME), workflow
    /// or job. All that are given must match
    #[arg(long = "match", value_name = "LABEL=VALUE", value_parser = Matcher::parse)]
    matchers: Vec<Matcher>,

    /// Of fewer jobs of a kind nothing follows
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    min_jobs: u64,

    /// What a node costs in an hour, in any currency: half of it for its CPUs, half for its memory
    #[arg(long, value_name = "PER_HOUR", value_parser = positive, requires_all = ["node_cpus", "node_memory"])]
    node_price: Option<f64>,

    /// The CPUs of that node
    #[arg(long, value_name = "COUNT", value_parser = positive, requires = "node_price")]
    node_cpus: Option<f64>,

    /// Its memory in GiB
    #[arg(long, value_name = "GIB", value_parser = positive, requires = "node_price")]
    node_memory: Option<f64>,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Output,

    #[command(flatten)]
    access: WebAccess,
}

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table for a terminal, and the values.
    Table,
    /// All figures.
    Json,
    /// For a ticket or a step summary.
    Markdown,
}

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A server gave no answer.
    #[error(transparent)]
    Server(#[from] web_access::Error),
    /// Prometheus' answer is of no use.
    #[error("{url}: {source}{}", answer_hint(source))]
    Answer {
        /// The server.
        url: String,
        /// The cause.
        source: AnswerError,
    },
    /// An agent's answer is of no use.
    #[error("{url}: {source}")]
    Counts {
        /// The agent.
        url: String,
        /// The cause.
        source: CountsError,
    },
    /// There are no series.
    #[error(
        "{url} has no series {} in this time; is it the Prometheus that scrapes the agents, and is \
         that family allowed (--metrics-allow)?",
        Labels::FAMILY
    )]
    NoSeries {
        /// The server.
        url: String,
    },
    /// Too many windows.
    #[error("--since is more than {MOST_WINDOWS} times --window; choose a longer window")]
    Windows,
    /// It cannot be written.
    #[error("cannot write the advice as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The text to print.
pub(super) async fn run(args: &Args) -> Result<String, Error> {
    let (source, usages, left_out) = if let Some(url) = &args.prometheus {
        let server = args.access.server(url, TIMEOUT)?;
        let gathering = asked(args, &server).await?;
        (Source::Prometheus, Usage::by_kind(&gathering.jobs()), gathering.left_out())
    } else {
        let (usages, left_out) = counted(args).await?;
        (Source::Agents, usages, left_out)
    };
    let price = match (args.node_price, args.node_cpus, args.node_memory) {
        (Some(node_per_hour), Some(node_cpus), Some(node_gib)) => {
            Some(Price { node_per_hour, node_cpus, node_gib })
        }
        _ => None,
    };
    let rule = Rule { min_jobs: args.min_jobs };
    let advice = Advice::new(source, usages, left_out, rule, price);
    Ok(match args.output {
        Output::Table => table(&advice),
        Output::Markdown => markdown(&advice),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&advice)?),
    })
}

/// What Prometheus has, window by window.
async fn asked(args: &Args, server: &Server) -> Result<Gathering, Error> {
    let now = clock::now_ns() / 1_000_000_000;
    let since = args.since.min(LONGEST_SINCE);
    let window = args.window.min(since).max(Duration::from_secs(1));
    let windows = since.as_secs().div_ceil(window.as_secs().max(1));
    if u128::from(windows) > MOST_WINDOWS {
        return Err(Error::Windows);
    }
    let path = format!(
        "/api/v1/labels?match[]={}&start={}&end={now}",
        encoded(Labels::FAMILY),
        now.saturating_sub(since.as_secs())
    );
    let url = server.url.to_string();
    let names = ask(server, &path, label_names).await?;
    let ways = Labels::of(&names);
    if ways.is_empty() {
        return Err(Error::NoSeries { url });
    }
    let queries = ways.into_iter().map(|labels| Queries::new(labels, args.matchers.clone()));
    let queries: Vec<Queries> = queries.collect();
    let mut gathering = Gathering::default();
    for number in (0..windows).rev() {
        let end = now.saturating_sub(number.saturating_mul(window.as_secs()));
        for (queries, question) in queries.iter().flat_map(|it| Question::ALL.map(|one| (it, one)))
        {
            let query = encoded(&queries.query(question, window));
            let path = format!("/api/v1/query?time={end}&query={query}");
            let samples = ask(server, &path, vector).await?;
            gathering.add(queries.labels(), question, samples);
        }
    }
    Ok(gathering)
}

/// Prometheus says what is wrong in the body of an answer whose status is no success.
async fn ask<T>(
    server: &Server,
    path: &str,
    read: impl Fn(&[u8]) -> Result<T, AnswerError>,
) -> Result<T, Error> {
    let (status, body) = server.ask(path, "application/json", MOST_ANSWER_BYTES).await?;
    let is_refusal = !status.is_success();
    match read(&body) {
        Ok(data) if !is_refusal => Ok(data),
        Err(source @ AnswerError::Refused(_)) if !is_denied(status) => {
            Err(Error::Answer { url: server.url.to_string(), source })
        }
        Err(source) if !is_refusal => Err(Error::Answer { url: server.url.to_string(), source }),
        _ => Err(server.refused(status, &body).into()),
    }
}

fn is_denied(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// What agents have counted.
async fn counted(args: &Args) -> Result<(BTreeMap<Kind, Usage>, LeftOut), Error> {
    let mut counts = Counts::default();
    for url in &args.agents {
        let url = url.trim_end_matches('/').trim_end_matches("/metrics");
        let server = args.access.server(url, TIMEOUT)?;
        let page = server.get("/metrics", Counts::ACCEPT, MOST_PAGE_BYTES).await?;
        let failed = |source| Error::Counts { url: server.url.to_string(), source };
        counts.add(&page).map_err(failed)?;
    }
    Ok(counts.usages(&args.matchers))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn answer_hint(error: &AnswerError) -> &'static str {
    match error {
        AnswerError::Refused(why) if why.contains("too many samples") => {
            "; ask for less at a time with --window, or for fewer jobs with --match"
        }
        AnswerError::Refused(_) | AnswerError::NotPrometheus(_) => "",
    }
}

/// A duration that may have days (`14d`) or weeks (`2w`).
fn long(text: &str) -> Result<Duration, String> {
    let whole = |hours: u64, count: &str| {
        let seconds = count.parse::<u64>().ok()?.checked_mul(hours)?.checked_mul(3600)?;
        Some(Duration::from_secs(seconds))
    };
    let parsed = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(days), _) => whole(24, days),
        (_, Some(weeks)) => whole(24 * 7, weeks),
        _ => duration::parse(text),
    };
    let enough = parsed.filter(|it| *it >= Duration::from_secs(1));
    enough.ok_or_else(|| "expected at least a second, such as 14d, 2w, 36h, 30m".to_owned())
}

/// Of a longer one not every scrape would be looked at.
fn window(text: &str) -> Result<Duration, String> {
    let at_most = |it: &Duration| *it <= Duration::from_hours(24);
    long(text).ok().filter(at_most).ok_or_else(|| "expected 1s to 1d, such as 6h".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &[&str]) -> Result<Args, String> {
        let words = std::iter::once(&"advice").chain(line);
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn durations_have_days_and_weeks() {
        for (text, hours) in [("14d", 336), ("2w", 336), ("36h", 36)] {
            assert_eq!(long(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for text in ["", "d", "0d", "-1d", "1.5d", "99999999999999999999d", "14", "10ms"] {
            assert!(long(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_source_and_a_whole_price_are_needed() {
        assert!(parsed(&["--prometheus", "http://x", "--match", "repository=o/r"]).is_ok());
        assert!(parsed(&["--agent", "http://a", "--agent", "http://b"]).is_ok());
        for line in [
            &[][..],
            &["--prometheus", "http://x", "--agent", "http://a"],
            &["--agent", "http://a", "--since", "1d"],
            &["--prometheus", "http://x", "--node-price", "1"],
            &["--prometheus", "http://x", "--node-cpus", "1"],
            &["--prometheus", "http://x", "--window", "25h"],
            &["--prometheus", "http://x", "--match", "colour=blue"],
            &["--prometheus", "http://x", "--user", "me"],
            &[
                "--prometheus",
                "http://x",
                "--node-price",
                "-1",
                "--node-cpus",
                "1",
                "--node-memory",
                "1",
            ],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }
}

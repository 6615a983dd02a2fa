//! The agent's own log, on standard error.

use std::io::IsTerminal as _;

use ephemon_otel::SpanBuffer;
use ephemon_otlp::own;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry, reload};

use super::log_level::LogLevel;

/// Flags of the log.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// The log's form
    #[arg(
        long = "log-format",
        env = "EPHEMON_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Human
    )]
    pub format: LogFormat,

    /// What to log: a level, or levels by module [example: `info,kube=debug`]
    #[arg(long = "log", env = "EPHEMON_LOG", value_name = "FILTER", default_value = "info")]
    pub filter: String,
}

/// A log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not valid.
    #[error(
        "--log {filter:?} is not a log filter ({source}); use for example info, debug or info,kube=warn"
    )]
    Filter {
        /// The filter as given.
        filter: String,
        /// The cause.
        source: tracing_subscriber::filter::ParseError,
    },
}

impl LogArgs {
    /// Starts the log, and collects spans if there is a span buffer. A log that is already running
    /// is kept, because tests share one process. Returns what changes the filter later.
    pub(super) fn start(&self, spans: Option<&SpanBuffer>) -> Result<LogLevel, LogError> {
        let filter = EnvFilter::try_new(&self.filter)
            .map_err(|source| LogError::Filter { filter: self.filter.clone(), source })?;
        let (filter, handle) = reload::Layer::new(filter);
        // Spans are only exported. In the log they would precede every line.
        let lines = filter_fn(|it| !it.is_span()).with_max_level_hint(LevelFilter::TRACE);
        let log = fmt::layer().with_writer(std::io::stderr);
        let log = match self.format {
            LogFormat::Human => {
                let ansi = std::io::stderr().is_terminal();
                log.with_ansi(ansi).with_target(false).boxed()
            }
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let log = registry().with(log.with_filter(filter.and(lines)));
        let started = match spans {
            Some(span_buffer) => log.with(own::layer(span_buffer)).try_init(),
            None => log.try_init(),
        };
        if let Err(error) = started {
            tracing::debug!("the log is already initialized: {error}");
        }
        Ok(LogLevel::new(Some(handle), self.filter.clone()))
    }
}

//! What `/metrics` says of the agent's own settings, and which families it shows.

use clap::ValueEnum;
use ephemon_catalogue::Settings;
use ephemon_metrics::{Filter, Pattern};

use super::args::Args;

/// The settings that change which values there are. No address, path or header is among them.
pub(super) fn of(args: &Args) -> Settings {
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    Settings {
        pod_selector: args.pod_selector.join(";"),
        api: !args.no_api,
        cri: args.cri_socket.is_some(),
        enforce_limits: args.enforce_limits,
        nri: args.nri_socket.is_some(),
        sample_interval: format!("{:?}", args.sample_interval),
        retain_ended: format!("{:?}", args.retain_ended),
        max_ended: args.max_ended.to_string(),
        logs: args.export.logs.as_str().to_owned(),
        trace_mode: word(args.trace_mode.to_possible_value()),
        otlp_metrics: args.export.otlp_metrics,
        metrics_allow: listed(&args.metrics_allow),
        metrics_deny: listed(&args.metrics_deny),
    }
}

/// The families that are shown. A pattern of no use is named in the log and is no reason to end: a
/// family may have another name in the release after this one.
pub(super) fn filter(args: &Args) -> Filter {
    let flags = [("--metrics-allow", &args.metrics_allow), ("--metrics-deny", &args.metrics_deny)];
    for (flag, patterns) in flags {
        for pattern in patterns.iter().filter(|pattern| !pattern.is_of_use()) {
            tracing::warn!(
                "{flag}: no metric is called {pattern}; deploy/docs/metrics.md lists the names"
            );
        }
    }
    Filter::new(&args.metrics_allow, &args.metrics_deny)
}

fn listed(patterns: &[Pattern]) -> String {
    let patterns: Vec<_> = patterns.iter().map(Pattern::to_string).collect();
    patterns.join(",")
}

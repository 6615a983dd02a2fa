//! How spans of jobs are built, and where they go.

use ephemon_export::{Outbox, Payload};
use ephemon_otlp::span;
use ephemon_otlp::span::Encoded;

use crate::args::{Args, TraceParent};

/// Passes encoded spans on; returns whether they were accepted.
pub(crate) type SpanSender = Box<dyn FnMut(Encoded) -> bool + Send>;

/// How a job's spans are built.
pub(crate) fn looks(args: &Args, node_name: String) -> span::Options {
    let parent = match args.trace_parent {
        TraceParent::None => span::Parent::None,
        TraceParent::GithubRun => span::Parent::GithubRun,
    };
    span::Options { parent, node_name: Some(node_name), ..span::Options::default() }
}

/// Sends spans to the collector through the spool, so that spans that count as sent survive a
/// restart of the agent.
pub(crate) fn span_sender(outbox: Outbox) -> SpanSender {
    Box::new(move |Encoded { body, spans }| {
        let items = u64::try_from(spans).unwrap_or(u64::MAX);
        outbox.post(Payload { body: body.into(), items })
    })
}

//! Whom the agent talks to: the API server, the runtime, the collector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ephemon_discovery::api::{Answer, Checked, RunnerObjects};
use ephemon_discovery::{api, cri};
use ephemon_export::Destination;
use ephemon_model::node::NodeRoot;
use ephemon_nri as nri;
use ephemon_otel::Signal;
use ephemon_otel::config::{Config, Exporter, Target};

use super::Finding;
use crate::args::Args;
use crate::run::api_options;

/// For each answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn findings(args: &Args) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(api_server(args).await);
    if let Some(socket) = &args.cri_socket {
        let socket = NodeRoot::new(&args.node_root).join(socket);
        findings.push(match cri::check(socket.clone(), ANSWER_TIMEOUT).await {
            Ok(()) => Finding::fine("runtime", socket.display().to_string()),
            Err(error) => Finding::limited("runtime", error.to_string()),
        });
    }
    if let Some(socket) = &args.nri_socket {
        let socket = NodeRoot::new(&args.node_root).join(socket);
        findings.push(match tokio::time::timeout(ANSWER_TIMEOUT, nri::check(&socket)).await {
            Ok(Ok(())) => Finding::fine("NRI", socket.display().to_string()),
            Ok(Err(error)) => Finding::limited("NRI", error.to_string()),
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Finding::limited("NRI", format!("{}: no answer in {seconds} s", socket.display()))
            }
        });
    }
    findings.extend(collector(args).await);
    findings
}

async fn api_server(args: &Args) -> Vec<Finding> {
    const PART: &str = "API server";
    if args.no_api {
        let what = "not asked (--no-api): no container types, images, exit codes";
        return vec![Finding::limited(PART, what)];
    }
    let mut options = api_options(args);
    options.patience.answer = ANSWER_TIMEOUT;
    let watch = match api::Watch::connect(options).await {
        Ok(watch) => watch,
        Err(error) => return vec![Finding::missing(PART, error.to_string())],
    };
    match watch.check().await {
        Ok(Checked { pods, more, runners }) => {
            let pods = pods.len();
            let pods = if more { format!("more than {pods}") } else { pods.to_string() };
            let what = format!("{}, {pods} pods of this node match --pod-selector", watch.url());
            vec![Finding::fine(PART, what), runner_objects(&watch.runner_objects(), &runners).await]
        }
        Err(sentence) => vec![Finding::missing(PART, sentence)],
    }
}

/// Whether ARC says which jobs its runners have: of one runner of each namespace.
async fn runner_objects(objects: &RunnerObjects, runners: &[(Arc<str>, Arc<str>)]) -> Finding {
    const PART: &str = "jobs of ARC";
    let mut namespaces = BTreeMap::new();
    for (namespace, name) in runners {
        namespaces.entry(namespace).or_insert(name);
    }
    if namespaces.is_empty() {
        return Finding::fine(PART, "no pod of one of its runners is on this node now");
    }
    for (namespace, name) in &namespaces {
        let why = match objects.get(namespace, name).await {
            Answer::Job(_) | Answer::NoJob | Answer::Missing => continue,
            Answer::Refused(why) | Answer::Failed(why) => why,
        };
        let what = format!(
            "ephemeralrunners.actions.github.com in namespace {namespace}: {why}: repository, workflow \
             and run of jobs are known from labels only; grant `get`"
        );
        return Finding::limited(PART, what);
    }
    Finding::fine(PART, format!("readable in {} namespaces", namespaces.len()))
}

/// Of each signal that has somewhere to go, whether it is taken there.
async fn collector(args: &Args) -> Vec<Finding> {
    let (config, ignored) = Config::from_env(|name| std::env::var(name).ok());
    let mut findings: Vec<_> = ignored
        .iter()
        .map(|ignored| Finding::limited("OTEL_ variables", ignored.to_string()))
        .collect();
    let mut signals =
        vec![("logs", Signal::Logs, &config.logs), ("traces", Signal::Traces, &config.traces)];
    if args.export.otlp_metrics {
        signals.push(("OTLP metrics", Signal::Metrics, &config.metrics));
    }
    for (part, signal, exporter) in signals {
        if let Exporter::Otlp(target) = exporter {
            findings.push(delivery(part, signal, target).await);
        }
    }
    findings
}

async fn delivery(part: &'static str, signal: Signal, target: &Target) -> Finding {
    let mut destination = Destination::collector(signal, target);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, destination.check()).await;
    let to = target.shown();
    match answer {
        Ok(Ok(())) => Finding::fine(part, format!("{to} takes them")),
        Ok(Err(reason)) => Finding::limited(part, format!("{to}: {reason}; they wait meanwhile")),
        Err(_) => Finding::limited(
            part,
            format!("{to}: no answer in {} s; they wait meanwhile", ANSWER_TIMEOUT.as_secs()),
        ),
    }
}

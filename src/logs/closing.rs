//! What is said of a log that is over.

use ephemon_base::clock::now_ns;
use ephemon_contract::trace::Traceparent;
use ephemon_crilog::{ContainerLog, LogRef, RefusedLog};
use ephemon_otlp::LogEnd;
use sha2::{Digest, Sha256};

pub(super) fn say_incomplete(finished: &ContainerLog) {
    let LogRef { pod, container, .. } = &*finished.log;
    tracing::warn!(
        namespace = %pod.namespace, pod = %pod.name, container = %container,
        lost_bytes = finished.accounting.all_lost_bytes(),
        "the container's log did not come through whole"
    );
}

pub(super) fn say_refused(refused: &RefusedLog) {
    let LogRef { pod, container, attempt } = &refused.log;
    tracing::warn!(
        namespace = %pod.namespace, pod = %pod.name, %container, attempt,
        "a container's log is not read: {}. Said once; ephemon_agent_logs_refused_total counts such logs",
        refused.why
    );
}

/// The event that closes it.
pub(super) fn end_of(finished: &ContainerLog, span: Option<Traceparent>) -> LogEnd {
    let LogRef { pod, container, attempt } = &*finished.log;
    let text = format!("{}\n{container}\n{attempt}\nend", pod.uid);
    let hash = Sha256::digest(text.as_bytes());
    let uid = hash.iter().take(16).fold(0, |uid, byte| (uid << 8) | u128::from(*byte));
    LogEnd {
        observed_unix_nano: now_ns(),
        uid,
        span,
        lines: finished.accounting.lines,
        bytes: finished.accounting.seen_bytes,
        lost_bytes: finished.accounting.all_lost_bytes(),
        complete: finished.complete,
    }
}

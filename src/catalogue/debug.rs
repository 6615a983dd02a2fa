//! The metrics of containers that somebody attached to a pod by hand. In OTLP each change is an event.

use ephemon_base::clock::nanos;
use ephemon_discovery::debug_containers::DebugContainer;

use super::row::{Label, Metric, Row};
use super::value::Value;

/// The rows, in the order of the exposition.
pub static ROWS: &[Row<DebugContainer>] = &[
    Metric::info("An ephemeral container that somebody attached to a pod by hand.")
        .family("ephemon_debug_container_info")
        .labels(&[
            Label::prometheus("image"),
            Label::prometheus("target_container"),
            Label::prometheus("command"),
            Label::prometheus("field_manager"),
        ])
        .many(|one, points| {
            let labels = [
                one.image.as_deref().unwrap_or_default().into(),
                one.target.as_deref().unwrap_or_default().into(),
                one.command.as_deref().unwrap_or_default().into(),
                one.field_manager.as_deref().unwrap_or_default().into(),
            ];
            points.put(&labels, Some(Value::Count(1)));
        }),
    Metric::gauge("s", "When it was attached, since the Unix epoch, where the API server says so.")
        .family("ephemon_debug_container_attach_time_seconds")
        .one(|one| one.attached.and_then(Value::unix)),
    Metric::gauge("s", "When it started, since the Unix epoch.")
        .family("ephemon_debug_container_start_time_seconds")
        .one(|one| one.started.and_then(Value::unix)),
    Metric::gauge("s", "Once it is over: how long it ran.")
        .family("ephemon_debug_container_duration_seconds")
        .one(|one| one.duration().map(|duration| Value::Nanos(nanos(duration)))),
    Metric::gauge("1", "Once it is over: its exit code.")
        .family("ephemon_debug_container_exit_code")
        .one(|one| one.exit_code.map(Value::Code)),
];

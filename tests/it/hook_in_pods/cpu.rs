//! What an agent shows of a container's CPU time, held against the container's own counter.

use crate::support::exposition::Ledger;

/// Seconds that a process is charged for after it has read its container's counter: it goes on to print it
/// and to end.
const AFTERWARDS: f64 = 0.03;
/// Seconds that a residual may lack: what neighbours used between the readings of their pod and of them.
const LACKING: f64 = 0.03;

/// A container's CPU time in seconds and the quality of its final reading, once its end was shown.
pub(super) fn ended(ledger: &Ledger, container: &str) -> Option<(f64, String)> {
    let labels = [("container", container)];
    ledger.sum("ephemon_container_end_time_seconds", &labels)?;
    let (quality, _) = ledger.with("ephemon_container_final_quality_info", &labels).next()?;
    let shown = ledger.sum("ephemon_container_cpu_usage_seconds_total", &labels)?;
    Some((shown, quality.label("quality").to_owned()))
}

/// Holds the seconds that are shown against the container's own, which a process of it has read last. The
/// figure may be less only where the agent has missed the end and calls it a residual.
pub(super) fn assert_cpu(container: &str, quality: &str, own: f64, shown: f64) {
    assert_cpu_until(container, quality, (own, AFTERWARDS), shown);
}

/// The same where that process may be charged for so many seconds after it has read.
pub(super) fn assert_cpu_until(
    container: &str,
    quality: &str,
    (own, afterwards): (f64, f64),
    shown: f64,
) {
    assert!(["exact", "residual"].contains(&quality), "{container}: {quality}");
    let lacking = if quality == "residual" { LACKING } else { 0.0 };
    let range = own - lacking..=own * 1.01 + afterwards;
    assert!(range.contains(&shown), "{container}, {quality}: {shown} of {own} s");
}

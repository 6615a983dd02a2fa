//! Where the agent's memory may go: every pool that pods, jobs, logs, the API server and scrapers can
//! fill, with its bound in bytes. The pools hold the bounds; a test holds their sum to the manifests'.
//!
//! A bound is an estimate that is rather too high: sizes of values in tables that have just grown, with
//! the allocator's part. What is over a bound is dropped, counted and said by the pool.

use ephemon_capture::readings;
use ephemon_crilog as crilog;
use ephemon_discovery::{api, feed, inventory};
use ephemon_jobs as jobs;
use ephemon_jobs::tally;

use super::admin;
use {
    ephemon_journal as journal, ephemon_logs as logs, ephemon_mask as mask,
    ephemon_metrics as metrics, ephemon_otlp as otlp,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// `resources.limits.memory` of the manifests without a collector.
pub const LIMIT: usize = 128 * MIB;
/// The same where logs, traces or metrics go to a collector.
pub const EXPORT_LIMIT: usize = 224 * MIB;
/// Pods of a node for which there is room. A kubelet runs 110 unless it is told otherwise.
const PODS: usize = 250;
/// Containers that live on a node with so many pods.
const LIVING: usize = 4 * PODS;
/// `EPHEMON_MAX_ENDED` in the manifests.
const ENDED: usize = 2000;
/// Largest object that etcd takes as it is shipped.
const OBJECT_BYTES: usize = 3 * MIB / 2;

/// A pool.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// What is in it.
    pub name: &'static str,
    /// The most it takes.
    pub bytes: usize,
    /// Whether it is filled only where something goes to a collector.
    pub export: bool,
}

/// All of them.
pub const POOLS: &[Pool] = &[
    // Measured with 110 containers and nothing else: 12 MB, of which 4 are pages of the program.
    always("the program, its threads, its libraries", 16 * MIB),
    always("evidence of jobs under way", jobs::MAX_EVIDENCE_BYTES),
    // Its records sorted, its parts, and those parts once more as spans: one job at a time.
    always("a job being put together", 3 * (jobs::MAX_RECORD_BYTES + jobs::MAX_FACT_BYTES)),
    always("jobs being sent", jobs::MAX_PARTS_A_TURN * 512 + otlp::span::MAX_SPANS * 6 * KIB),
    always("evidence that waits for the disk", jobs::MAX_OWED_BYTES),
    always("open journals", journal::MAX_FILES * journal::FILE_BYTES),
    always("counts of jobs by their names", (tally::MAX_LABELS + 1) * tally::SET_BYTES),
    always("changes of pods", feed::FEED_BYTES),
    always("containers by name", inventory::MAX_CONTAINERS * inventory::CONTAINER_BYTES),
    always(
        "specs of pods",
        inventory::MAX_SPEC_BYTES_IN_ALL + PODS * inventory::SPEC_BYTES_FOR_SURE,
    ),
    always("log directories of pods", PODS * inventory::MAX_LOGS_PER_POD * 64),
    always("figures of containers", (LIVING + ENDED + readings::MAX_ENDS) * readings::RECORD_BYTES),
    always("open files of containers that live", LIVING * 4 * KIB),
    // Lent, one being rendered, and spare ones.
    always("texts of scrapes", 3 * metrics::MAX_TEXT_BYTES),
    always("connections of scrapers", admin::CONNECTIONS_BYTES),
    // As text, and as the values it is read into.
    always("a page of the API server's list", 2 * api::LIST_PAGE_LIMIT as usize * OBJECT_BYTES),
    export("values to mask", logs::MAX_MASK_BYTES),
    // Before the bound for all is looked at, and copied while a line is being masked.
    export("values to mask of one pod, being told", 2 * mask::job::MAX_FORMS_BYTES),
    // Of each form there are more than a hundred bytes; a checksum takes sixteen, three times.
    export("checksums of values to mask", logs::MAX_MASK_BYTES / 100 * 48),
    export("a file of values to mask being read", 2 * mask::shared::MAX_LINE_BYTES),
    export("unfinished lines", crilog::MAX_HELD_BYTES + logs::MAX_LEARNED_LINES_BYTES),
    // One of the longest lines, read, masked and stripped.
    export("a line being sanitized", 6 * MIB),
    export("compressed logs", 2 * crilog::MAX_UNPACKED * crilog::UNPACKED_BYTES),
    // Each with the ends of three lines, which a secret may go on from.
    export("logs being read", crilog::MAX_LIVE * 16 * KIB),
    // Without what is sent: read from their beginning for what they told before the agent's start.
    export("logs being read for values to mask", crilog::MAX_LIVE * 8 * KIB),
    export("logs read to the end", 2 * (crilog::MAX_LOGS * KIB + crilog::MAX_LEFT * 128)),
    // Two follow: the one that reads lines, and at the start the one that reads values to mask.
    export("logs that are not read", 2 * crilog::MAX_REFUSED * 320),
    export("figures of logs", logs::MAX_LEDGER_LOGS * logs::LEDGER_LOG_BYTES),
    export("steps that lines belong to", logs::MAX_STEPS_IN_ALL * logs::STEP_BYTES),
    export(
        "requests that wait",
        3 * ephemon_export::QUEUE_BYTES + 2 * ephemon_export::PAYLOAD_BYTES_MAX,
    ),
    export("requests on their way", 2 * ephemon_export::PAYLOAD_BYTES_MAX),
];

/// The sum of the bounds.
pub fn sum(exports: bool) -> usize {
    POOLS.iter().filter(|pool| exports || !pool.export).map(|pool| pool.bytes).sum()
}

const fn always(name: &'static str, bytes: usize) -> Pool {
    Pool { name, bytes, export: false }
}

const fn export(name: &'static str, bytes: usize) -> Pool {
    Pool { name, bytes, export: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit in a manifest.
    fn limit(manifest: &str) -> usize {
        let amounts = manifest.split("memory: ").skip(1);
        let mebibytes = amounts.filter_map(|rest| rest.split_once("Mi")?.0.parse::<usize>().ok());
        // The other one is what is requested.
        mebibytes.max().expect("a limit in MiB") * MIB
    }

    #[test]
    fn the_sum_of_all_pools_is_below_the_manifests_limits() {
        let base = include_str!("../../deploy/kustomize/base/daemonset.yaml");
        let otlp = include_str!("../../deploy/kustomize/components/otlp/kustomization.yaml");
        let helm = include_str!("../../deploy/helm/ephemon/templates/daemonset.yaml");
        for (manifest, limit_there) in [(base, LIMIT), (otlp, EXPORT_LIMIT)] {
            assert_eq!(limit(manifest), limit_there);
        }
        let [with, without] = [EXPORT_LIMIT, LIMIT].map(|limit| format!("\"{}Mi\"", limit / MIB));
        assert!(helm.contains(&format!("ternary {with} {without} $export")));
        assert!(base.contains(&format!("value: \"{ENDED}\"")));
        for (exports, limit) in [(false, LIMIT), (true, EXPORT_LIMIT)] {
            for pool in POOLS.iter().filter(|pool| exports || !pool.export) {
                eprintln!("{:>6} KiB  {}", pool.bytes / KIB, pool.name);
            }
            let sum = sum(exports);
            eprintln!("{:>6} KiB of {}", sum / KIB, limit / KIB);
            assert!(sum < limit, "{} of {} KiB", sum / KIB, limit / KIB);
        }
    }

    #[test]
    fn no_pool_is_without_a_bound() {
        for pool in POOLS {
            assert!(pool.bytes > 0 && pool.bytes < LIMIT / 3, "{pool:?}");
        }
    }
}

//! The agent's memory budget: every pool that pods, jobs, logs, the API server and scrapers can
//! fill, with its bound in bytes. The pools enforce the bounds; a test compares their sum with the
//! memory limits in the manifests.
//!
//! A bound is an upper estimate: the size of the values in tables that have just grown, with the
//! allocator's overhead. What exceeds a bound is dropped, counted and logged by the pool.

use ephemon_capture::readings;
use ephemon_crilog as crilog;
use ephemon_discovery::{api, awaited_images, cgroups, debug_containers, feed, inventory, nested};
use ephemon_history as history;
use ephemon_jobs as jobs;
use ephemon_jobs::tally;

use super::{admin, state};
use {
    ephemon_journal as journal, ephemon_logs as logs, ephemon_mask as mask,
    ephemon_metrics as metrics, ephemon_otlp as otlp, ephemon_page as page,
    ephemon_pre_pull as pre_pull,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// `resources.limits.memory` of the manifests without a collector, in bytes.
pub const LIMIT: usize = 136 * MIB;
/// The same with logs, traces or metrics exported to a collector.
pub const EXPORT_LIMIT: usize = 248 * MIB;
/// What the manifests add with `--page`, in bytes.
pub const PAGE_LIMIT: usize = 28 * MIB;
/// Pods of a node that the budget is made for. A kubelet runs at most 110 by default.
const PODS: usize = 250;
/// Running containers on a node with so many pods.
const LIVING: usize = 4 * PODS;
/// `EPHEMON_MAX_ENDED` in the manifests.
const ENDED: usize = 2000;
/// Largest object that etcd accepts by default, in bytes.
const OBJECT_BYTES: usize = 3 * MIB / 2;

/// A part of the agent's memory.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Its content.
    pub name: &'static str,
    /// Its bound in bytes.
    pub bytes: usize,
    /// Whether it is used only if something is exported to a collector.
    pub export: bool,
    /// Whether it is used only with `--page`.
    pub page: bool,
}

/// All pools.
pub const POOLS: &[Pool] = &[
    // Measured without containers, after a scrape: 11.2 MB, most of them pages of the program.
    always("the program, its threads, its libraries", 14 * MIB),
    always("evidence of running jobs", jobs::MAX_EVIDENCE_BYTES),
    // The sorted records of one job, its phases and steps, and their spans.
    always("a job being assembled", 3 * (jobs::MAX_RECORD_BYTES + jobs::MAX_FACT_BYTES)),
    always("jobs being sent", jobs::MAX_PARTS_A_TURN * 512 + otlp::span::MAX_SPANS * 6 * KIB),
    always("evidence waiting to be written", jobs::MAX_OWED_BYTES),
    always("open journals", journal::MAX_FILES * journal::FILE_BYTES),
    always("counts of jobs by name", (tally::MAX_LABELS + 1) * tally::SET_BYTES),
    always("changes of pods", feed::FEED_BYTES),
    always("containers by name", inventory::MAX_CONTAINERS * inventory::CONTAINER_BYTES),
    always("ends that the runtime tells before the start", inventory::LONE_ENDS_BYTES),
    always(
        "specs of pods",
        inventory::MAX_TOTAL_SPEC_BYTES + PODS * inventory::GUARANTEED_SPEC_BYTES,
    ),
    always("runners and jobs of pods", PODS * inventory::ORIGIN_BYTES),
    always("an object of ARC being read", OBJECT_BYTES),
    always("nested containers' groups", cgroups::NESTED_GROUPS_BYTES),
    always(
        "nested containers",
        ephemon_capture::MAX_NESTED * (readings::RECORD_BYTES + 4 * KIB)
            + inventory::MAX_NESTED_KNOWN * inventory::NESTED_BYTES,
    ),
    always("nested containers without a place", ephemon_capture::WAITING_BYTES),
    always("nested containers that were removed", ephemon_capture::MISSED_BYTES),
    always("monitors of nested containers", ephemon_capture::MONITORS_BYTES),
    always("names of nested containers being read", nested::NAMES_BYTES),
    always("debug containers", debug_containers::DEBUG_BYTES),
    always(
        "images that containers wait for, and their pulls",
        awaited_images::AWAITED_BYTES + pre_pull::PLAN_BYTES,
    ),
    always("what the runtime asks over NRI", ephemon_nri::SESSION_BYTES),
    always("log directories of pods", PODS * inventory::MAX_LOGS_PER_POD * 64),
    always("values of containers", (LIVING + ENDED + readings::MAX_ENDS) * readings::RECORD_BYTES),
    always("open files of running containers", LIVING * 4 * KIB),
    // Responses that are being sent, and one that is being rendered, with the room that it grows by.
    always("responses to scrapes", 5 * metrics::MAX_TEXT_BYTES / 2),
    // For a client by HTTP, and for one of the control socket.
    always("states of the agent", 2 * state::STATE_BYTES),
    always("connections of scrapers", admin::CONNECTIONS_BYTES),
    paged("samples of containers over time", history::MAX_BYTES),
    paged("jobs on the page, with their parts", page::MAX_BOARD_BYTES),
    paged("answers of the page", admin::PAGE_ANSWERS_BYTES),
    paged("last lines of logs, for the page", logs::MAX_TAIL_BYTES),
    // The page as text, and the objects parsed from it.
    always("a page of the API server's list", 2 * api::LIST_PAGE_LIMIT as usize * OBJECT_BYTES),
    export("values to mask", logs::MAX_MASK_BYTES),
    // Held before the bound for all pods is checked, and copied while a line is masked.
    export("values to mask of one pod, being received", 2 * mask::job::MAX_FORMS_BYTES),
    // Each form has more than a hundred bytes; a checksum has sixteen, stored three times.
    export("checksums of values to mask", logs::MAX_MASK_BYTES / 100 * 48),
    export("a file of values to mask being read", 2 * mask::shared::MAX_LINE_BYTES),
    export("unfinished lines", crilog::MAX_HELD_BYTES + logs::MAX_LEARNED_LINES_BYTES),
    // One line of the maximum length: as read, masked, and without colours.
    export("a line being sanitized", 6 * MIB),
    export("compressed logs", 2 * crilog::MAX_UNPACKED * crilog::UNPACKED_BYTES),
    // Each with the ends of three lines, in which a secret may begin that continues in the next
    // line.
    export("logs being read", crilog::MAX_LIVE * 16 * KIB),
    // Their lines are not sent: they are read from the beginning for the masks that were registered
    // before the agent's start.
    export("logs being read for values to mask", crilog::MAX_LIVE * 8 * KIB),
    export("logs read to their end", 2 * (crilog::MAX_LOGS * KIB + crilog::MAX_LEFT * 128)),
    // Two follow: the one that reads lines, and at the start the one that reads values to mask.
    export("logs that are not read", 2 * crilog::MAX_REFUSED * 320),
    export("counts of logs", logs::MAX_LEDGER_LOGS * logs::LEDGER_LOG_BYTES),
    export("messages of jobs in runners' logs", logs::JOB_MESSAGES_BYTES),
    // In the queues, and taken out of them to be read.
    export("lines of runners", 2 * logs::WAITING_RUNNER_LINES_BYTES),
    export("steps that lines belong to", logs::MAX_STEPS_IN_ALL * logs::STEP_BYTES),
    export(
        "queued requests",
        3 * ephemon_export::QUEUE_BYTES + 2 * ephemon_export::PAYLOAD_BYTES_MAX,
    ),
    export("requests in flight", 2 * ephemon_export::PAYLOAD_BYTES_MAX),
];

/// The sum of the bounds in bytes.
pub fn sum(exports: bool, page: bool) -> usize {
    let used = POOLS.iter().filter(|pool| (exports || !pool.export) && (page || !pool.page));
    used.map(|pool| pool.bytes).sum()
}

const fn always(name: &'static str, bytes: usize) -> Pool {
    Pool { name, bytes, export: false, page: false }
}

const fn export(name: &'static str, bytes: usize) -> Pool {
    Pool { name, bytes, export: true, page: false }
}

const fn paged(name: &'static str, bytes: usize) -> Pool {
    Pool { name, bytes, export: false, page: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory limit in a manifest, in bytes.
    fn limit(manifest: &str) -> usize {
        let amounts = manifest.split("memory: ").skip(1);
        let mebibytes = amounts.filter_map(|rest| rest.split_once("Mi")?.0.parse::<usize>().ok());
        // The smaller value is the request.
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
        let paged =
            [EXPORT_LIMIT, LIMIT].map(|limit| format!("\"{}Mi\"", (limit + PAGE_LIMIT) / MIB));
        assert!(helm.contains(&format!("ternary {} {} $export", paged[0], paged[1])));
        assert!(base.contains(&format!("value: \"{ENDED}\"")));
        for pool in POOLS {
            eprintln!("{:>6} KiB  {}", pool.bytes / KIB, pool.name);
        }
        for (exports, page, limit) in [
            (false, false, LIMIT),
            (true, false, EXPORT_LIMIT),
            (false, true, LIMIT + PAGE_LIMIT),
            (true, true, EXPORT_LIMIT + PAGE_LIMIT),
        ] {
            let sum = sum(exports, page);
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

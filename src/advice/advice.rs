//! All of the advice: a row for each kind of job, and what each scale set's values should say. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amount::Resources;
use super::job::Kind;
use super::rule::{Rule, Verdict};
use super::scale_set::ScaleSet;
use super::usage::Usage;

/// Where the figures are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Prometheus: job by job.
    Prometheus,
    /// Agents' own counts.
    Agents,
}

/// What a node costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// For an hour, in any currency.
    pub node_per_hour: f64,
    /// Its CPUs.
    pub node_cpus: f64,
    /// Its memory, GiB.
    pub node_gib: f64,
}

/// Money, in the price's currency, for the time that was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Money {
    /// For what was requested and not used.
    pub waste: f64,
}

/// One kind of job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// What its jobs used.
    pub usage: Usage,
    /// What follows.
    pub verdict: Verdict,
    /// What the waste costs, with a price.
    pub money: Option<Money>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// Of this form.
    pub api_version: &'static str,
    /// Where the figures are from.
    pub source: Source,
    /// The rule.
    pub rule: Rule,
    /// The price.
    pub price: Option<Price>,
    /// Jobs that are in no row: still running, or without an end or CPU time.
    pub jobs_left_out: u64,
    /// Those that waste most first, then those that used most CPU.
    pub rows: Vec<Row>,
    /// By namespace and name.
    pub scale_sets: Vec<ScaleSet>,
}

// === impl Price ===

impl Price {
    /// One half of a node's price pays for its CPUs, the other for its memory.
    pub fn of(self, core_hours: f64, gib_hours: f64) -> f64 {
        let half = self.node_per_hour / 2.0;
        core_hours * half / self.node_cpus + gib_hours * half / self.node_gib
    }
}

// === impl Advice ===

impl Advice {
    /// From what jobs used.
    pub fn new(
        source: Source,
        usages: BTreeMap<Kind, Usage>,
        jobs_left_out: u64,
        rule: Rule,
        price: Option<Price>,
    ) -> Self {
        let row = |(kind, usage)| {
            let verdict = rule.verdict(&usage);
            let Verdict { waste_core_hours: cores, waste_gib_hours: gib, .. } = verdict;
            let is_known = cores.is_some() || gib.is_some();
            let waste = price
                .filter(|_| is_known)
                .map(|price| price.of(cores.unwrap_or_default(), gib.unwrap_or_default()));
            Row { kind, usage, verdict, money: waste.map(|waste| Money { waste }) }
        };
        let mut rows: Vec<Row> = usages.into_iter().map(row).collect();
        rows.sort_by(|a, b| b.rank().total_cmp(&a.rank()).then_with(|| a.kind.cmp(&b.kind)));
        let scale_sets = scale_sets(&rows);
        Self { api_version: "v1", source, rule, price, jobs_left_out, rows, scale_sets }
    }
}

// === impl Row ===

impl Row {
    /// What is looked at first. A core is worth as much as a few GiB.
    fn rank(&self) -> f64 {
        let waste = self.verdict.waste_core_hours.unwrap_or_default()
            + self.verdict.waste_gib_hours.unwrap_or_default() / 4.0;
        let used = self.usage.cpu_mean_cores.unwrap_or_default() * self.usage.hours;
        waste + used / 1e6
    }
}

fn scale_sets(rows: &[Row]) -> Vec<ScaleSet> {
    let mut sets: BTreeMap<(&str, &str, Option<&str>), ScaleSet> = BTreeMap::new();
    for row in rows {
        let kind = &row.kind;
        let told: Vec<_> = row.usage.scale_sets.iter().map(|name| Some(name.as_str())).collect();
        let sets_of_row = if told.is_empty() { vec![None] } else { told };
        for name in sets_of_row {
            let key = (kind.cluster.as_str(), kind.namespace.as_str(), name);
            let set = sets.entry(key).or_insert_with(|| ScaleSet {
                cluster: kind.cluster.clone(),
                namespace: kind.namespace.clone(),
                name: name.map(str::to_owned),
                request: Resources::default(),
                limit: Resources::default(),
                kinds: 0,
                kinds_left_out: 0,
                values: String::new(),
            });
            let Some(request) = row.verdict.request else {
                set.kinds_left_out += 1;
                continue;
            };
            set.kinds += 1;
            set.request = set.request.max(request);
            set.limit = set.limit.max(row.verdict.limit.unwrap_or_default());
        }
    }
    let written = sets.into_values().filter(|set| set.kinds > 0);
    written.map(|set| ScaleSet { values: super::values::values(&set), ..set }).collect()
}

//! All of the advice: a row for each kind of job, and what each scale set's values should say. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amount::Resources;
use super::job::Kind;
use super::left_out::LeftOut;
use super::rule::{Rule, Verdict, least_limit};
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
    /// Jobs that are in no row: still running, or without a name of their own.
    pub jobs_left_out: u64,
    /// The same: their steps ran in pods of their own, which runners' requests say nothing about.
    pub jobs_elsewhere: u64,
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
        left_out: LeftOut,
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
        let LeftOut { unknown: jobs_left_out, elsewhere: jobs_elsewhere } = left_out;
        let api_version = "v1";
        Self { api_version, source, rule, price, jobs_left_out, jobs_elsewhere, rows, scale_sets }
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
    let mut sets: BTreeMap<(&str, &str, Option<&str>), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let kind = &row.kind;
        let told: Vec<_> = row.usage.scale_sets.iter().map(|name| Some(name.as_str())).collect();
        for name in if told.is_empty() { vec![None] } else { told } {
            sets.entry((&kind.cluster, &kind.namespace, name)).or_default().push(row);
        }
    }
    let set = |((cluster, namespace, name), rows): ((&str, &str, Option<&str>), Vec<&Row>)| {
        let requests = || rows.iter().filter_map(|row| row.verdict.request);
        let request = requests().fold(Resources::default(), Resources::max);
        let set = ScaleSet {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
            request,
            limit: Resources {
                cpu_cores: limit(&rows, request.cpu_cores, |it| it.cpu_cores),
                memory_bytes: limit(&rows, request.memory_bytes, |it| it.memory_bytes),
            },
            kinds: requests().count(),
            kinds_left_out: rows.len() - requests().count(),
            container_memory_bytes: rows
                .iter()
                .filter_map(|row| row.usage.container_memory_bytes)
                .map(|it| it.max)
                .reduce(f64::max),
            values: String::new(),
        };
        ScaleSet { values: super::values::values(&set), ..set }
    };
    sets.into_iter().map(set).filter(|set| set.kinds > 0).collect()
}

/// One limit for all of these kinds. Those without advice still run under it: it does not go below what
/// is known of them, and there is none if nothing is known. No limit is below the request.
fn limit(rows: &[&Row], request: Option<f64>, which: fn(Resources) -> Option<f64>) -> Option<f64> {
    let advised = |row: &Row| row.verdict.limit.and_then(which);
    rows.iter().find_map(|row| advised(row))?;
    let of_each = rows.iter().map(|row| advised(row).or_else(|| which(least_limit(&row.usage))));
    let highest = of_each.reduce(|a, b| Some(a?.max(b?))).flatten()?;
    Some(highest.max(request.unwrap_or_default()))
}

#[cfg(test)]
mod tests;

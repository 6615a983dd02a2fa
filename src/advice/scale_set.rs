//! What a scale set's values should say. Plain values.

use serde::Serialize;

use super::amount::Resources;

/// What a scale set's values should say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleSet {
    /// By Prometheus' label.
    pub cluster: String,
    /// Its runners' namespace.
    pub namespace: String,
    /// Its name, where runners' pods tell it.
    pub name: Option<String>,
    /// Enough for each kind of job that there is advice on.
    pub request: Resources,
    /// The same of limits. What not all kinds of jobs that ran there allow is not in it.
    pub limit: Resources,
    /// Kinds of jobs with advice.
    pub kinds: usize,
    /// Kinds of jobs with too few jobs.
    pub kinds_left_out: usize,
    /// Where memory of whole jobs is not known: the highest of one container.
    pub container_memory_bytes: Option<f64>,
    /// `template.spec` of the chart's values, as YAML.
    pub values: String,
}

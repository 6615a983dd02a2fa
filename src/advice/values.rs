//! The part of a scale set's values that says requests and limits. Pure.

use super::amount::{Resources, cpu_quantity, memory_quantity};
use super::scale_set::ScaleSet;
use super::shown;

/// YAML for the chart `gha-runner-scale-set`. Names are in comments only, in one line each.
pub(crate) fn values(set: &ScaleSet) -> String {
    let name = set.name.as_deref().map_or_else(|| "these runners".to_owned(), shown::name);
    let cluster = match set.cluster.as_str() {
        "" => String::new(),
        cluster => format!(", cluster {}", shown::name(cluster)),
    };
    let few = match set.kinds_left_out {
        0 => String::new(),
        few => format!("; too few jobs of {few} more"),
    };
    let (request, limit) = (resources(set.request), resources(set.limit));
    format!(
        "# {name} in {}{cluster}: enough for {} kind(s) of jobs{few}\n\
         template:\n  spec:\n    \
         # The whole pod; Kubernetes 1.34 and later.\n    \
         resources:\n      requests: {request}\n      limits: {limit}\n    \
         containers:\n      - name: runner\n        \
         # The same, for earlier ones.\n        \
         resources:\n          requests: {request}\n          limits: {limit}\n",
        shown::name(&set.namespace),
        set.kinds,
    )
}

fn resources(of: Resources) -> String {
    let cpu = of.cpu_cores.map(|cores| format!("cpu: \"{}\"", cpu_quantity(cores)));
    let memory = of.memory_bytes.map(|bytes| format!("memory: {}", memory_quantity(bytes)));
    let parts: Vec<String> = cpu.into_iter().chain(memory).collect();
    if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
}

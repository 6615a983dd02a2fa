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
    let container = set.container_memory_bytes.map(|bytes| {
        let bytes = shown::memory(bytes);
        format!(
            "# One container alone had up to {bytes} of memory; what all of a pod's have together is not known.\n"
        )
    });
    let container = container.unwrap_or_default();
    let (request, limit) = (resources(set.request), resources(set.limit));
    format!(
        "# {name} in {}{cluster}: enough for {} kind(s) of jobs{few}\n\
         {container}\
         template:\n  spec:\n    \
         # Enough for the whole pod. If it has other containers, take off what these request; a limit\n    \
         # limits the pod only if each of them has one.\n    \
         containers:\n      - name: runner\n        \
         resources:\n          requests: {request}\n          limits: {limit}\n    \
         # Or, Kubernetes 1.34 and later, without the above: for the pod. All containers' requests\n    \
         # together must fit.\n    \
         # resources:\n    #   requests: {request}\n    #   limits: {limit}\n",
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

//! Names of metrics.
#![expect(missing_docs, reason = "the catalogue of metrics documents them")]

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub const $name: &str = $text;)*

        #[cfg(test)]
        #[test]
        fn names_are_those_of_the_conventions() {
            use opentelemetry_semantic_conventions::metric;
            $(assert_eq!($name, metric::$name, stringify!($name));)*
        }
    };
}

names! {
    CONTAINER_CPU_TIME = "container.cpu.time";
    CONTAINER_DISK_IO = "container.disk.io";
    CONTAINER_MEMORY_RSS = "container.memory.rss";
    CONTAINER_MEMORY_USAGE = "container.memory.usage";
    CONTAINER_MEMORY_WORKING_SET = "container.memory.working_set";
    CONTAINER_UPTIME = "container.uptime";
    K8S_CONTAINER_CPU_LIMIT_CURRENT = "k8s.container.cpu.limit.current";
    K8S_CONTAINER_MEMORY_LIMIT_CURRENT = "k8s.container.memory.limit.current";
    K8S_POD_NETWORK_ERRORS = "k8s.pod.network.errors";
    K8S_POD_NETWORK_IO = "k8s.pod.network.io";
}

/// Since 1.44; `container.memory.paging.faults` before.
pub const CONTAINER_PAGING_FAULTS: &str = "container.paging.faults";

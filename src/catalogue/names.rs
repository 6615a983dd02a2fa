//! OTLP's names: OpenTelemetry's, by its semantic conventions, and for attributes where these have
//! none, our own. A test holds the first to the conventions' own list. Metrics that the conventions do
//! not have are named in their rows, below `ephemon.`.

macro_rules! names {
    ($list:ident in $test:ident: $($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        #[cfg(test)]
        #[test]
        fn $test() {
            use opentelemetry_semantic_conventions::$list;
            $(assert_eq!($name, $list::$name, stringify!($name));)*
        }
    };
}

names! { metric in metrics_are_those_of_the_conventions:
    /// CPU time.
    CONTAINER_CPU_TIME = "container.cpu.time";
    /// Bytes read and written.
    CONTAINER_DISK_IO = "container.disk.io";
    /// Page faults.
    CONTAINER_MEMORY_PAGING_FAULTS = "container.memory.paging.faults";
    /// Anonymous memory.
    CONTAINER_MEMORY_RSS = "container.memory.rss";
    /// All memory.
    CONTAINER_MEMORY_USAGE = "container.memory.usage";
    /// Without inactive file pages.
    CONTAINER_MEMORY_WORKING_SET = "container.memory.working_set";
    /// Age.
    CONTAINER_UPTIME = "container.uptime";
    /// The quota.
    K8S_CONTAINER_CPU_LIMIT_CURRENT = "k8s.container.cpu.limit.current";
    /// The memory limit.
    K8S_CONTAINER_MEMORY_LIMIT_CURRENT = "k8s.container.memory.limit.current";
    /// Errors of interfaces.
    K8S_POD_NETWORK_ERRORS = "k8s.pod.network.errors";
    /// Bytes received and sent.
    K8S_POD_NETWORK_IO = "k8s.pod.network.io";
}

names! { attribute in attributes_are_those_of_the_conventions:
    /// How it ended.
    CICD_PIPELINE_TASK_RUN_RESULT = "cicd.pipeline.task.run.result";
    /// `user` or `system`.
    CPU_MODE = "cpu.mode";
    /// `read` or `write`.
    DISK_IO_DIRECTION = "disk.io.direction";
    /// The interface.
    NETWORK_INTERFACE_NAME = "network.interface.name";
    /// `receive` or `transmit`.
    NETWORK_IO_DIRECTION = "network.io.direction";
    /// How a process ended.
    PROCESS_EXIT_CODE = "process.exit.code";
    /// `minor` or `major`.
    SYSTEM_PAGING_FAULT_TYPE = "system.paging.fault.type";
}

/// Which list of the pod's spec the container stands in.
pub const CONTAINER_TYPE: &str = "ephemon.container.type";
/// The kernel's name of a memory event.
pub const MEMORY_EVENT: &str = "ephemon.memory.event";
/// `waiting` or `stalled`.
pub const PRESSURE_KIND: &str = "ephemon.pressure.kind";
/// `cpu`, `memory` or `io`.
pub const PRESSURE_RESOURCE: &str = "ephemon.pressure.resource";
/// How far the figures are proven.
pub const USAGE_QUALITY: &str = "ephemon.usage.quality";

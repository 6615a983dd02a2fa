//! Names of metrics.
#![expect(missing_docs, reason = "the table of metrics says what each is")]

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

pub const CPU_PERIODS: &str = "ephemon.container.cpu.periods";
pub const CPU_THROTTLED_PERIODS: &str = "ephemon.container.cpu.throttled.periods";
pub const CPU_THROTTLED_TIME: &str = "ephemon.container.cpu.throttled.time";
pub const DISK_OPERATIONS: &str = "ephemon.container.disk.operations";
pub const ENDED: &str = "ephemon.container.ended";
pub const MEMORY_CACHE: &str = "ephemon.container.memory.cache";
pub const MEMORY_EVENTS: &str = "ephemon.container.memory.events";
pub const MEMORY_PEAK: &str = "ephemon.container.memory.peak";
pub const MEMORY_SWAP: &str = "ephemon.container.memory.swap";
pub const PIDS: &str = "ephemon.container.pids";
pub const PIDS_LIMIT: &str = "ephemon.container.pids.limit";
pub const PIDS_LIMIT_HITS: &str = "ephemon.container.pids.limit.hits";
pub const PIDS_PEAK: &str = "ephemon.container.pids.peak";
pub const PRESSURE_TIME: &str = "ephemon.container.pressure.time";

pub const POD_DROPPED: &str = "ephemon.pod.network.dropped";
pub const POD_PACKETS: &str = "ephemon.pod.network.packets";

pub const JOB_COMPLETED: &str = "ephemon.job.completed";
pub const JOB_CONTAINERS: &str = "ephemon.job.containers";
pub const JOB_CONTAINER_START: &str = "ephemon.job.container.start";
pub const JOB_CONTAINER_WAIT: &str = "ephemon.job.container.wait";
pub const JOB_CPU_TIME: &str = "ephemon.job.cpu.time";
pub const JOB_DISK_IO: &str = "ephemon.job.disk.io";
pub const JOB_DURATION: &str = "ephemon.job.duration";
pub const JOB_IMAGE_PULL: &str = "ephemon.job.image.pull";
pub const JOB_MEMORY_PEAK: &str = "ephemon.job.memory.peak";
pub const JOB_MEMORY_TIME: &str = "ephemon.job.memory.time";
pub const JOB_OOM_KILLS: &str = "ephemon.job.oom.kills";
pub const JOB_STARTED: &str = "ephemon.job.started";
pub const JOB_STEPS: &str = "ephemon.job.steps";

//! Names of metrics: OpenTelemetry's, by its semantic conventions, and where these have none, our
//! own below `ephemon.`. A test holds the first to the conventions' own list.

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: &str = $text;)*

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
    CONTAINER_MEMORY_PAGING_FAULTS = "container.memory.paging.faults";
    CONTAINER_MEMORY_RSS = "container.memory.rss";
    CONTAINER_MEMORY_USAGE = "container.memory.usage";
    CONTAINER_MEMORY_WORKING_SET = "container.memory.working_set";
    CONTAINER_UPTIME = "container.uptime";
    K8S_CONTAINER_CPU_LIMIT_CURRENT = "k8s.container.cpu.limit.current";
    K8S_CONTAINER_MEMORY_LIMIT_CURRENT = "k8s.container.memory.limit.current";
    K8S_POD_NETWORK_ERRORS = "k8s.pod.network.errors";
    K8S_POD_NETWORK_IO = "k8s.pod.network.io";
}

pub(super) const CPU_PERIODS: &str = "ephemon.container.cpu.periods";
pub(super) const CPU_THROTTLED_PERIODS: &str = "ephemon.container.cpu.throttled.periods";
pub(super) const CPU_THROTTLED_TIME: &str = "ephemon.container.cpu.throttled.time";
pub(super) const DISK_OPERATIONS: &str = "ephemon.container.disk.operations";
pub(super) const ENDED: &str = "ephemon.container.ended";
pub(super) const MEMORY_CACHE: &str = "ephemon.container.memory.cache";
pub(super) const MEMORY_EVENTS: &str = "ephemon.container.memory.events";
pub(super) const MEMORY_PEAK: &str = "ephemon.container.memory.peak";
pub(super) const MEMORY_SWAP: &str = "ephemon.container.memory.swap";
pub(super) const PIDS: &str = "ephemon.container.pids";
pub(super) const PIDS_LIMIT: &str = "ephemon.container.pids.limit";
pub(super) const PIDS_LIMIT_HITS: &str = "ephemon.container.pids.limit.hits";
pub(super) const PIDS_PEAK: &str = "ephemon.container.pids.peak";
pub(super) const PRESSURE_TIME: &str = "ephemon.container.pressure.time";

pub(super) const POD_DROPPED: &str = "ephemon.pod.network.dropped";
pub(super) const POD_PACKETS: &str = "ephemon.pod.network.packets";

pub(super) const JOB_COMPLETED: &str = "ephemon.job.completed";
pub(super) const JOB_CONTAINERS: &str = "ephemon.job.containers";
pub(super) const JOB_CONTAINER_START: &str = "ephemon.job.container.start";
pub(super) const JOB_CONTAINER_WAIT: &str = "ephemon.job.container.wait";
pub(super) const JOB_CPU_TIME: &str = "ephemon.job.cpu.time";
pub(super) const JOB_DISK_IO: &str = "ephemon.job.disk.io";
pub(super) const JOB_DURATION: &str = "ephemon.job.duration";
pub(super) const JOB_IMAGE_PULL: &str = "ephemon.job.image.pull";
pub(super) const JOB_MEMORY_PEAK: &str = "ephemon.job.memory.peak";
pub(super) const JOB_MEMORY_TIME: &str = "ephemon.job.memory.time";
pub(super) const JOB_OOM_KILLS: &str = "ephemon.job.oom.kills";
pub(super) const JOB_STARTED: &str = "ephemon.job.started";
pub(super) const JOB_STEPS: &str = "ephemon.job.steps";

//! Names of attributes and events on spans: those that logs have, too, by the semantic conventions,
//! and what the conventions have no name for, in a namespace of our own.

pub(super) use crate::names::{
    CICD_PIPELINE_NAME as PIPELINE_NAME, CICD_PIPELINE_RUN_ID as PIPELINE_RUN_ID,
    CICD_PIPELINE_RUN_URL_FULL as PIPELINE_RUN_URL, CICD_PIPELINE_TASK_NAME as TASK_NAME,
    CICD_PIPELINE_TASK_RUN_ID as TASK_RUN_ID, CICD_PIPELINE_TASK_RUN_RESULT as TASK_RUN_RESULT,
    CICD_PIPELINE_TASK_RUN_URL_FULL as TASK_RUN_URL, CICD_WORKER_ID as WORKER_ID,
    CICD_WORKER_NAME as WORKER_NAME, CONTAINER_ID, CONTAINER_IMAGE_NAME as CONTAINER_IMAGE,
    CONTAINER_IMAGE_TAGS, CONTAINER_TYPE, ERROR_TYPE, GITHUB_RUN_ATTEMPT as RUN_ATTEMPT,
    K8S_CONTAINER_NAME as K8S_CONTAINER, K8S_NAMESPACE_NAME as K8S_NAMESPACE,
    K8S_NODE_NAME as K8S_NODE, K8S_POD_NAME as K8S_POD, K8S_POD_UID, LOG_BYTES, LOG_LINES,
    PROCESS_EXIT_CODE, SCHEMA_URL, SERVICE_NAME, USAGE_QUALITY, VCS_OWNER_NAME as VCS_OWNER,
    VCS_PROVIDER_NAME as VCS_PROVIDER, VCS_REF_HEAD_NAME as VCS_REF_NAME,
    VCS_REF_HEAD_REVISION as VCS_REF_REVISION, VCS_REF_HEAD_TYPE as VCS_REF_TYPE,
    VCS_REPOSITORY_NAME as VCS_REPOSITORY, VCS_REPOSITORY_URL_FULL as VCS_REPOSITORY_URL,
};

/// The instrumentation scope.
pub(super) const SCOPE: &str = "ephemon";
/// `github.event_name`.
pub(super) const EVENT_NAME: &str = "github.event.name";
/// `github.workflow_ref`.
pub(super) const WORKFLOW_REF: &str = "github.workflow.ref";
/// Whose word the job's result is: `runner` or `parts`.
pub(super) const RESULT_SOURCE: &str = "ephemon.result.source";
/// Parts of the job that found no room in its record.
pub(super) const LEFT_OUT: &str = "ephemon.left_out";
/// `script` or `container`.
pub(super) const STEP_KIND: &str = "ephemon.step.kind";
/// `job`, `service`, `step`, `runner`, `other`.
pub(super) const CONTAINER_ROLE: &str = "ephemon.container.role";
/// CPU time.
pub(super) const CPU_SECONDS: &str = "ephemon.cpu.seconds";
/// Time throttled by a CPU quota.
pub(super) const THROTTLED_SECONDS: &str = "ephemon.cpu.throttled.seconds";
/// Highest memory use.
pub(super) const MEMORY_PEAK: &str = "ephemon.memory.peak.bytes";
/// Highest resident set of one process.
pub(super) const MEMORY_MAX_RSS: &str = "ephemon.memory.max_rss.bytes";
/// Memory in use over time.
pub(super) const MEMORY_BYTE_SECONDS: &str = "ephemon.memory.byte_seconds";
/// Processes that the OOM killer ended.
pub(super) const OOM_KILLS: &str = "ephemon.oom.kills";
/// Bytes read from block devices.
pub(super) const IO_READ: &str = "ephemon.io.read.bytes";
/// Bytes written to block devices.
pub(super) const IO_WRITE: &str = "ephemon.io.write.bytes";
/// Present and true where a moment was moved because it made no sense.
pub(super) const TIME_SKEWED: &str = "ephemon.time.skewed";
/// Who told the beginning: `kernel`, `runtime`, `journal`, `runner`, `derived`.
pub(super) const START_SOURCE: &str = "ephemon.time.start.source";
/// Who told the end.
pub(super) const END_SOURCE: &str = "ephemon.time.end.source";

/// Size of a pulled image.
pub(super) const IMAGE_BYTES: &str = "ephemon.image.bytes";

/// Event: the image is on the node; where no pull was told of, the container's cgroup is made.
pub(super) const EVENT_IMAGE_READY: &str = "ephemon.container.image.ready";
/// Event: the container's own program runs.
pub(super) const EVENT_STARTED: &str = "ephemon.container.started";
/// Event: the OOM killer ended processes.
pub(super) const EVENT_OOM_KILL: &str = "ephemon.oom_kill";
/// Event: the container is over.
pub(super) const EVENT_EXITED: &str = "ephemon.container.exited";

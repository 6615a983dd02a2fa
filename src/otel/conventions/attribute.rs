//! Names of attributes, and of events.

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        #[cfg(test)]
        #[test]
        fn names_are_those_of_the_conventions() {
            use opentelemetry_semantic_conventions::attribute;
            $(assert_eq!($name, attribute::$name, stringify!($name));)*
        }
    };
}

names! {
    /// The service that sends the telemetry.
    SERVICE_NAME = "service.name";
    /// The pod's namespace.
    K8S_NAMESPACE_NAME = "k8s.namespace.name";
    /// The pod.
    K8S_POD_NAME = "k8s.pod.name";
    /// The pod's UID.
    K8S_POD_UID = "k8s.pod.uid";
    /// The container's name in the pod.
    K8S_CONTAINER_NAME = "k8s.container.name";
    /// The node.
    K8S_NODE_NAME = "k8s.node.name";
    /// The runtime's id.
    CONTAINER_ID = "container.id";
    /// The name that a container's engine gave it.
    CONTAINER_NAME = "container.name";
    /// The image without tag and digest.
    CONTAINER_IMAGE_NAME = "container.image.name";
    /// Its tags, a list.
    CONTAINER_IMAGE_TAGS = "container.image.tags";
    /// Its digests with the repository, a list.
    CONTAINER_IMAGE_REPO_DIGESTS = "container.image.repo_digests";
    /// The workflow.
    CICD_PIPELINE_NAME = "cicd.pipeline.name";
    /// The run's id.
    CICD_PIPELINE_RUN_ID = "cicd.pipeline.run.id";
    /// URL of the run.
    CICD_PIPELINE_RUN_URL_FULL = "cicd.pipeline.run.url.full";
    /// The job.
    CICD_PIPELINE_TASK_NAME = "cicd.pipeline.task.name";
    /// One run of a job or step.
    CICD_PIPELINE_TASK_RUN_ID = "cicd.pipeline.task.run.id";
    /// How it ended.
    CICD_PIPELINE_TASK_RUN_RESULT = "cicd.pipeline.task.run.result";
    /// URL of the job or step.
    CICD_PIPELINE_TASK_RUN_URL_FULL = "cicd.pipeline.task.run.url.full";
    /// The kind of failure.
    ERROR_TYPE = "error.type";
    /// The exit code of a process.
    PROCESS_EXIT_CODE = "process.exit.code";
    /// The process id in its own PID namespace.
    PROCESS_PID = "process.pid";
    /// The runner.
    CICD_WORKER_ID = "cicd.worker.id";
    /// The runner.
    CICD_WORKER_NAME = "cicd.worker.name";
    /// URL of the repository.
    VCS_REPOSITORY_URL_FULL = "vcs.repository.url.full";
    /// The repository without its owner.
    VCS_REPOSITORY_NAME = "vcs.repository.name";
    /// The owner.
    VCS_OWNER_NAME = "vcs.owner.name";
    /// The hosting service.
    VCS_PROVIDER_NAME = "vcs.provider.name";
    /// Branch or tag, without `refs/heads/`.
    VCS_REF_HEAD_NAME = "vcs.ref.head.name";
    /// The commit.
    VCS_REF_HEAD_REVISION = "vcs.ref.head.revision";
    /// `branch` or `tag`.
    VCS_REF_HEAD_TYPE = "vcs.ref.head.type";
    /// `stdout` or `stderr`.
    LOG_IOSTREAM = "log.iostream";
    /// The log on the node.
    LOG_FILE_PATH = "log.file.path";
    /// Equal for a line that is exported again.
    LOG_RECORD_UID = "log.record.uid";
    /// The line as it was written.
    LOG_RECORD_ORIGINAL = "log.record.original";
    /// The file of an annotation.
    CODE_FILE_PATH = "code.file.path";
    /// The line of an annotation.
    CODE_LINE_NUMBER = "code.line.number";
    /// The column of an annotation.
    CODE_COLUMN_NUMBER = "code.column.number";
    /// Identifies one instance of the service.
    SERVICE_INSTANCE_ID = "service.instance.id";
    /// Its version.
    SERVICE_VERSION = "service.version";
    /// `user` or `system`.
    CPU_MODE = "cpu.mode";
    /// `read` or `write`.
    DISK_IO_DIRECTION = "disk.io.direction";
    /// `receive` or `transmit`.
    NETWORK_IO_DIRECTION = "network.io.direction";
    /// The interface.
    NETWORK_INTERFACE_NAME = "network.interface.name";
    /// `minor` or `major`.
    SYSTEM_PAGING_FAULT_TYPE = "system.paging.fault.type";
}

/// The list of the pod's spec that contains the container.
pub const CONTAINER_TYPE: &str = "ephemon.container.type";
/// How exact the values are.
pub const USAGE_QUALITY: &str = "ephemon.usage.quality";
/// The kernel's name of a memory event.
pub const MEMORY_EVENT: &str = "ephemon.memory.event";
/// `cpu`, `memory` or `io`.
pub const PRESSURE_RESOURCE: &str = "ephemon.pressure.resource";
/// `waiting` or `stalled`.
pub const PRESSURE_KIND: &str = "ephemon.pressure.kind";
/// The attempt of the run.
pub const GITHUB_RUN_ATTEMPT: &str = "github.run.attempt";
/// The open groups.
pub const GITHUB_LOG_GROUP: &str = "github.log.group";
/// The workflow command that the line is.
pub const GITHUB_LOG_COMMAND: &str = "github.log.command";
/// An annotation's title.
pub const GITHUB_LOG_TITLE: &str = "github.log.title";
/// The last line of an annotation.
pub const GITHUB_LOG_END_LINE: &str = "github.log.end_line";
/// The last column.
pub const GITHUB_LOG_END_COLUMN: &str = "github.log.end_column";
/// Bytes that were cut from the body.
pub const LOG_RECORD_TRUNCATED_BYTES: &str = "log.record.truncated_bytes";
/// How many parts of the line are masked.
pub const LOG_MASKED: &str = "ephemon.log.masked";
/// Why the body is a placeholder instead of the text.
pub const LOG_WITHHELD: &str = "ephemon.log.withheld";
/// Values to mask were registered that the agent no longer knows.
pub const LOG_UNPROVEN: &str = "ephemon.log.unproven";
/// Lines, and parts of lines, of the container's log up to this one.
pub const LOG_SEQUENCE: &str = "ephemon.log.sequence";
/// The output ended without a newline, or what followed is lost.
pub const LOG_UNENDED: &str = "ephemon.log.unended";
/// What is wrong with the runtime's record: the line has no time of its own.
pub const LOG_MALFORMED: &str = "ephemon.log.malformed";
/// Name of the event that closes a container's log.
pub const LOG_END: &str = "ephemon.log.end";
/// In this event: number of lines passed on.
pub const LOG_LINES: &str = "ephemon.log.lines";
/// In this event: bytes seen in the log's files.
pub const LOG_BYTES: &str = "ephemon.log.bytes";
/// In this event: bytes known to be lost.
pub const LOG_LOST_BYTES: &str = "ephemon.log.lost_bytes";
/// In this event: whether every byte was delivered.
pub const LOG_COMPLETE: &str = "ephemon.log.complete";

/// What the names of the events of containers that were attached by hand begin with.
pub const DEBUG_EVENT: &str = "ephemon.debug";
/// In these events: the container whose processes it sees.
pub const DEBUG_TARGET: &str = "ephemon.debug.target";
/// In these events: the first word of its command.
pub const DEBUG_COMMAND: &str = "ephemon.debug.command";
/// In these events: the field manager that added it.
pub const DEBUG_FIELD_MANAGER: &str = "ephemon.debug.field_manager";
/// In the last of these events: how long it ran, seconds.
pub const DEBUG_DURATION: &str = "ephemon.debug.duration";

/// `github.event_name`.
pub const GITHUB_EVENT_NAME: &str = "github.event.name";
/// `github.workflow_ref`.
pub const GITHUB_WORKFLOW_REF: &str = "github.workflow.ref";
/// The CI system whose pod it is, where that is not GitHub Actions: `gitlab`, `buildkite`, `tekton`,
/// `jenkins`, `argo`, or `custom` by an operator's mapping.
pub const CI_SYSTEM: &str = "ephemon.ci.system";
/// The source of the job's result: `runner` or `parts`.
pub const RESULT_SOURCE: &str = "ephemon.result.source";
/// Number of parts of the job that exceeded the limits of its record.
pub const LEFT_OUT: &str = "ephemon.left_out";
/// `script` or `container`.
pub const STEP_KIND: &str = "ephemon.step.kind";
/// `GITHUB_ACTION`: the step's id in the workflow, or the one that the runner gave it.
pub const STEP_ID: &str = "ephemon.step.id";
/// Who tells of the step: `journal`, `container`, `runner_log` (also the output of a GitLab job's scripts).
pub const STEP_SOURCE: &str = "ephemon.step.source";
/// `job`, `service`, `step`, `runner`, `other`, `debug`.
pub const CONTAINER_ROLE: &str = "ephemon.container.role";
/// CPU time.
pub const CPU_SECONDS: &str = "ephemon.cpu.seconds";
/// Time throttled by a CPU quota.
pub const THROTTLED_SECONDS: &str = "ephemon.cpu.throttled.seconds";
/// Highest memory use.
pub const MEMORY_PEAK: &str = "ephemon.memory.peak.bytes";
/// Highest resident set of one process.
pub const MEMORY_MAX_RSS: &str = "ephemon.memory.max_rss.bytes";
/// Memory in use over time.
pub const MEMORY_BYTE_SECONDS: &str = "ephemon.memory.byte_seconds";
/// Processes that the OOM killer killed.
pub const OOM_KILLS: &str = "ephemon.oom.kills";
/// Roles of the containers that a job's figures include.
pub const USAGE_ROLES: &str = "ephemon.usage.roles";
/// CPU time of the runner's own containers, where it is not in the job's.
pub const RUNNER_CPU_SECONDS: &str = "ephemon.runner.cpu.seconds";
/// Their highest memory use.
pub const RUNNER_MEMORY_PEAK: &str = "ephemon.runner.memory.peak.bytes";
/// CPU time of the pod's init containers.
pub const INIT_CPU_SECONDS: &str = "ephemon.init.cpu.seconds";
/// Their highest memory use.
pub const INIT_MEMORY_PEAK: &str = "ephemon.init.memory.peak.bytes";
/// From the first of the pod's containers to the runner's.
pub const RUNNER_STARTUP_SECONDS: &str = "ephemon.runner.startup.seconds";
/// From the runner's start to its job's.
pub const RUNNER_IDLE_SECONDS: &str = "ephemon.runner.idle.seconds";
/// Bytes read from block devices.
pub const IO_READ: &str = "ephemon.io.read.bytes";
/// Bytes written to block devices.
pub const IO_WRITE: &str = "ephemon.io.write.bytes";
/// Present and true if a time was adjusted because it was not plausible.
pub const TIME_SKEWED: &str = "ephemon.time.skewed";
/// The source of the start time: `kernel`, `runtime`, `journal`, `runner`, `system`, `derived`.
pub const START_SOURCE: &str = "ephemon.time.start.source";
/// The source of the end time.
pub const END_SOURCE: &str = "ephemon.time.end.source";

/// Size of a pulled image.
pub const IMAGE_BYTES: &str = "ephemon.image.bytes";
/// Present and true on the pull of an image that the agent asked the runtime for, before the kubelet.
pub const IMAGE_PRE_PULLED: &str = "ephemon.image.pre_pulled";

/// Event: the image is on the node; if no pull was reported, the container's cgroup was created.
pub const EVENT_IMAGE_READY: &str = "ephemon.container.image.ready";
/// Event: the container's own program runs.
pub const EVENT_STARTED: &str = "ephemon.container.started";
/// Event: the OOM killer killed processes.
pub const EVENT_OOM_KILL: &str = "ephemon.oom_kill";
/// Event: the container has ended.
pub const EVENT_EXITED: &str = "ephemon.container.exited";

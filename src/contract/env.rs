//! Names of environment variables. Those of a container stand in the pod's spec, where anyone who
//! may read pods reads them: none may hold a secret of the job's. [`CONTAINER_KEY`] is of use only
//! within the pod.

/// The public key of the job's hook, 64 lower-case hex digits: [`super::HookKey`]. Init serves
/// nobody else, and does not start without it.
pub const HOOK_KEY: &str = "EPHEMON_HOOK_KEY";
/// The key by which the container's init proves itself, 64 lower-case hex digits:
/// [`super::ContainerKey`]. Who has it and is in the pod can pose as this init towards the hook.
pub const CONTAINER_KEY: &str = "EPHEMON_CONTAINER_KEY";
/// The container's limits in the grammar of [`super::Limits`]; the agent enforces them.
pub const LIMITS: &str = "EPHEMON_LIMITS";
/// The container's own name: names its socket, its journal and its done marker.
pub const CONTAINER: &str = "EPHEMON_CONTAINER";
/// Random for each call of the hook. Calls at one time may ask for equal containers under one name;
/// by this they differ, so that the API server refuses all but the first.
pub const CALL: &str = "EPHEMON_CALL";
/// What the container is for: `job`, `service` or `step`.
pub const ROLE: &str = "EPHEMON_ROLE";
/// Where the shared volume is mounted, where that is not [`super::mount::EPHEMON`].
pub const VOLUME: &str = "EPHEMON_VOLUME";
/// The hook's uid: init serves it, root and its own uid, and refuses all others. Without it only
/// the hook's proof decides.
pub const PEER_UID: &str = "EPHEMON_PEER_UID";

/// `owner/name` of the repository.
pub const JOB_REPOSITORY: &str = "EPHEMON_JOB_REPOSITORY";
/// `github.run_id`.
pub const JOB_RUN_ID: &str = "EPHEMON_JOB_RUN_ID";
/// `github.run_attempt`.
pub const JOB_RUN_ATTEMPT: &str = "EPHEMON_JOB_RUN_ATTEMPT";
/// `github.job`, the job's key in the workflow.
pub const JOB_NAME: &str = "EPHEMON_JOB_NAME";
/// `github.workflow`, the workflow's name.
pub const JOB_WORKFLOW: &str = "EPHEMON_JOB_WORKFLOW";
/// `github.workflow_ref`, `owner/name/.github/workflows/file@ref`.
pub const JOB_WORKFLOW_REF: &str = "EPHEMON_JOB_WORKFLOW_REF";
/// `github.sha`.
pub const JOB_SHA: &str = "EPHEMON_JOB_SHA";
/// `github.ref`.
pub const JOB_REF: &str = "EPHEMON_JOB_REF";
/// `github.event_name`.
pub const JOB_EVENT: &str = "EPHEMON_JOB_EVENT";
/// `github.server_url`, where the run is shown: `https://github.com`, or the server of one's own.
pub const JOB_SERVER_URL: &str = "EPHEMON_JOB_SERVER_URL";
/// `RUNNER_NAME`.
pub const JOB_RUNNER: &str = "EPHEMON_JOB_RUNNER";

/// W3C trace context of the container's span; a step gets its own by [`super::Run::env`].
pub const TRACEPARENT: &str = "TRACEPARENT";
/// W3C trace state, passed on as the hook has it.
pub const TRACESTATE: &str = "TRACESTATE";
/// W3C baggage, passed on as the hook has it.
pub const BAGGAGE: &str = "BAGGAGE";

/// All names that say which job a container belongs to. The agent reads these, [`CONTAINER`],
/// [`ROLE`], [`LIMITS`] and [`TRACEPARENT`] from the spec and no other.
pub const JOB: [&str; 11] = [
    JOB_REPOSITORY,
    JOB_RUN_ID,
    JOB_RUN_ATTEMPT,
    JOB_NAME,
    JOB_WORKFLOW,
    JOB_WORKFLOW_REF,
    JOB_SHA,
    JOB_REF,
    JOB_EVENT,
    JOB_RUNNER,
    JOB_SERVER_URL,
];

/// What init takes out of the environment of everything it runs.
pub const NOT_FOR_STEPS: [&str; 6] = [HOOK_KEY, CONTAINER_KEY, PEER_UID, VOLUME, CONTAINER, CALL];

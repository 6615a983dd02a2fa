//! Names of environment variables. Those of a container are in the pod's spec, which everyone with
//! read access to pods can read, so none may contain a secret of the job. [`CONTAINER_KEY`] can be
//! used only within the pod.

/// The public key of the job's hook, 64 lower-case hex digits: [`super::HookKey`]. Init accepts no
/// other client, and does not start without it.
pub const HOOK_KEY: &str = "EPHEMON_HOOK_KEY";
/// The key with which the container's init proves its identity, 64 lower-case hex digits:
/// [`super::ContainerKey`]. A process of the pod that has it can pose as this init towards the
/// hook.
pub const CONTAINER_KEY: &str = "EPHEMON_CONTAINER_KEY";
/// The container's limits in the grammar of [`super::Limits`]; the agent enforces them.
pub const LIMITS: &str = "EPHEMON_LIMITS";
/// Asks the agent to put init in front of the image's own entrypoint, over NRI; the value is what
/// init sets up before ([`super::Setup::of_variable`]). Without such an agent it has no effect.
pub const INIT: &str = "EPHEMON_INIT";
/// Images of the job's container actions, for which containers follow later, in the grammar of
/// [`super::action_images`]: in the spec of the first container of the job's first patch. An agent
/// that pulls images ahead of the kubelet (`--pre-pull`) pulls them beside the job's own.
pub const ACTION_IMAGES: &str = "EPHEMON_ACTION_IMAGES";
/// The container's own name, from which the names of its socket, journal and done marker follow.
pub const CONTAINER: &str = "EPHEMON_CONTAINER";
/// Random for each call of the hook. Concurrent calls may request equal containers with the same
/// name; this value makes them differ, so that the API server rejects all but the first.
pub const CALL: &str = "EPHEMON_CALL";
/// The purpose of the container: `job`, `service`, `step`, or `standby`: made for a step that may
/// come, and that step's once it has taken it.
pub const ROLE: &str = "EPHEMON_ROLE";
/// Mount path of the shared volume, if it is not [`super::mount::EPHEMON`].
pub const VOLUME: &str = "EPHEMON_VOLUME";
/// The hook's uid: init accepts this uid, root and its own, and rejects all others. Without it only
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
/// `github.server_url`: `https://github.com`, or the address of a GitHub Enterprise Server.
pub const JOB_SERVER_URL: &str = "EPHEMON_JOB_SERVER_URL";
/// `RUNNER_NAME`.
pub const JOB_RUNNER: &str = "EPHEMON_JOB_RUNNER";

/// W3C trace context of the container's span; a step gets its own in [`super::Run::env`].
pub const TRACEPARENT: &str = "TRACEPARENT";
/// W3C trace state, passed on unchanged.
pub const TRACESTATE: &str = "TRACESTATE";
/// W3C baggage, passed on unchanged.
pub const BAGGAGE: &str = "BAGGAGE";

/// All variables that identify a container's job. The agent reads these, [`CONTAINER`], [`ROLE`],
/// [`LIMITS`], [`INIT`], [`ACTION_IMAGES`] and [`TRACEPARENT`] from the spec, and no others.
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

/// Variables that init removes from the environment of everything it runs.
pub const NOT_FOR_STEPS: [&str; 8] =
    [HOOK_KEY, CONTAINER_KEY, PEER_UID, VOLUME, CONTAINER, CALL, INIT, ACTION_IMAGES];

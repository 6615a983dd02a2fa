//! ephemon: exact metrics of Kubernetes ephemeral containers, on the node where they run.
//!
//! # Code map
//!
//! The flow is one way: what is there, what it used or may use, what is shown.
//!
//! - [`discovery`]: who is on this node. `cgroups` hears of births and deaths in the kernel's tree;
//!   `api`, `cri` and `logs` bring names; `inventory` weighs what each says.
//! - [`cgroup`]: the kernel's files, version 1 and 2 side by side: where they are, what they say.
//! - [`capture`]: one thread that keeps the files open, samples, reads finals, and balances each
//!   pod's books; what it read is in its `books`.
//! - [`crilog`]: the log files of chosen containers, followed to the last byte: whole lines, at
//!   least once, with a proof of completeness.
//! - [`enforcement`]: sets the limits that the API cannot: the spec's word becomes the kernel's.
//! - [`journal`]: what hook and init wrote in a pod's shared volume, read on the host.
//! - [`jobs`]: from containers, journals and specs to one record per job, over time.
//! - [`metrics`]: one table of families; how long ended series are kept; the two text formats.
//! - [`logs`]: what becomes of a line between a container's log and the record (masked, stripped,
//!   read for commands), and the thread that brings lines from `crilog` to `otlp`.
//! - [`mask`]: values and tokens that no log may show, and the search for them; its `shared` takes
//!   values from init and hook to the agent, by files in the pod's volume. [`workflow_command`]: the
//!   runner's commands in output. Both are init's too, but for `mask::patterns`.
//! - [`otlp`]: records as OTLP has them, a job as one trace, figures as metrics, the agent's own
//!   spans, and their way to a collector: the standard variables, gRPC and HTTP, retries and splits,
//!   the spool on the node's disk.
//! - [`agent`]: arguments, wiring, supervision, HTTP: whom its server has room for, how long it waits,
//!   and what the web configuration file asks of clients. `budget` lists what may take how much
//!   memory.
//! - [`demo`]: the embedded node: an API stand-in, a kubelet stand-in, a runner with a workflow, a
//!   script, a report.
//! - [`contract`]: what hook, init and agent must agree on: environment, shared volume, socket
//!   protocol with its keys and proofs, journal, limits, ids of traces.
//! - [`init`]: process 1 of the containers that the hook launches: runs steps, reaps, masks, serves
//!   its socket.
//! - [`hook`]: the GitHub Actions runner's container hook: requests, specs, launches, steps,
//!   and the spans of its own calls.
//! - [`install`]: the hook's programs into the pod's shared volume.
//! - [`cli`]: the command line of `ephemon`, with its completions and manual pages.
//! - [`plain_file`]: how hook, init and agent open files in directories that jobs can write to.
//! - [`model`]: plain domain types. [`node`]: host paths below `--node-root`. [`vitals`]: what the
//!   agent counts about itself, by closed enums.
//!
//! The binaries in `src/bin` only call in here.
//!
//! # Invariants
//!
//! - `model` is std only; `cgroup` adds nothing but `model`. `kube` is named in `discovery`
//!   and `hook` only; `tonic` in `discovery::cri` and `otlp` only, `opentelemetry*` in `otlp`,
//!   `hook::telemetry` and `demo::sink`, which reads for itself what the exporters wrote.
//!   `agent`, `hook`, `init` and `demo` never name each other: the demo starts the agent as a
//!   process, as a user would. Only `enforcement` sets limits, and it never loosens one; nothing
//!   else of the agent writes to a cgroup.
//!   `tests/it/tidy.rs` holds these fences.
//! - Every host path is joined to `--node-root`, so the agent runs on a fixture tree.
//! - The kernel is the truth for existence and use, the API for meaning; neither waits for the
//!   other.
//! - An absent kernel file is an absent figure, never 0; limits are enums, not sentinels.
//! - Every queue has a named bound and every drop is counted by reason. One container's trouble
//!   never costs another's data. The end of a part that runs for ever ends the agent, with a word.
//!
//! # Where this differs from the first design
//!
//! - The list-and-watch loop is ours on kube's client, not kube's `watcher`: that one hides when a
//!   watch has been taken up again and sets no limit on the wait for an answer.
//! - Messages of the CRI are declared by hand for the fields used: the published bindings need
//!   `protoc` to build, which a fresh machine does not have. Hence `tonic` in `discovery::cri`.
//! - Limits are set when the runtime has started the container's program, not at the cgroup's birth:
//!   set earlier, small ones keep runc from starting it, and runc's own come last.
//! - A container that has lived for half a minute is read in full every five seconds only: at 1 Hz a
//!   kernel file costs several times what it costs in a loop.
//! - On cgroup v1 the list of processes is opened anew for each look: a kept descriptor shows an
//!   old list for up to a second.
//! - The hook's call spans hang under the job's or the step's span, whose ids are derived
//!   (`contract::trace`) and whose spans are the agent's to send: two programs never send one
//!   span. The SDK's batch processor is not used: it blocks at the end for as long as a collector
//!   is silent.
//! - Nobody tells of image pulls but events, and an agent that watched those would be sent every
//!   node's: the hook asks once, at the job's end, for its own pod's, where it may, and writes them
//!   to its journal. Without that a pull is part of a container's `wait`.
//! - A pod is one job. A runner that could take several would need a second set of ephemeral
//!   containers, and those of the first cannot be removed.
//! - The programs lie in a volume of their own, `ephemon-bin`, read only in the runner and in every
//!   job: a job that could write there would be the hook at its next call.
//! - Where init cannot run, a second container is kept alive by a shell that hears SIGTERM, not by
//!   `tail -f /dev/null`, which as process 1 would hold the pod up for its grace period.

pub mod agent;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod contract;
pub mod crilog;
pub mod demo;
pub mod discovery;
pub mod enforcement;
pub mod hook;
pub mod init;
pub mod install;
pub mod jobs;
pub mod journal;
pub mod logs;
pub mod mask;
pub mod metrics;
pub mod model;
pub mod node;
pub mod otlp;
pub mod plain_file;
pub mod vitals;
pub mod workflow_command;

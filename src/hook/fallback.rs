//! The fallback if `ephemon-init` cannot run (an image of another architecture, a volume that is
//! mounted `noexec`): the container is created again, kept running by its own shell, and steps run
//! by `exec`. Ephemeral containers cannot be changed, so the first one remains in the pod, ended.

use std::collections::BTreeMap;

use ephemon_contract::{Volume, env, mount};
use tokio::sync::watch;
use tokio::time::Instant;

use k8s_openapi::api::core::v1::Pod;

use super::api::Api;
use super::call::{Call, Error};
use super::exec::{self, Step};
use super::launch::PodWatch;
use super::names::Names;
use super::outcome::{self, Outcome};
use super::pod_view::PodView;
use super::request::ScriptStep;
use super::spec::Planned;
use super::state::{Host, Job, State};
use super::step::Signals;
use super::{arguments, launch, workspace};

/// Keeps a container running until it gets a signal: `tail -f /dev/null` as process 1 would ignore
/// SIGTERM and delay the pod's end by the whole grace period. If the job ended before this
/// container started, it finds the marker file and exits at once.
const KEEP_ALIVE: &str =
    "[ ! -e \"$0\" ] || exit 125; trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";

/// Ends that shell and nothing else: if the pod shares its process namespace, process 1 belongs to
/// the pod, and must not be killed.
const END: &str =
    "case \"$(cat /proc/1/cmdline)\" in *'sleep 86400'*) kill -TERM 1;; *) exit 1;; esac\n";

/// A job container without init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) container: String,
    pub(super) is_alpine: bool,
}

/// Creates the job container again, without init, and logs the reason.
pub(super) async fn launch(
    call: &Call<'_>,
    api: &Api,
    job: &Planned,
    hosts: &[Host],
    sender: &watch::Sender<Pod>,
    cause: &launch::Error,
) -> Result<Kept, Error> {
    if let Some(user) = &job.user {
        let (image, user) = (job.image.clone(), user.clone());
        return Err(super::spec::Error::UserByName { image, user }.into());
    }
    call.console.notice(&format!(
        "ephemon-init does not run in {}; its steps run through the API server, which is slower, and their resource usage is not reported ({cause})",
        job.image
    ));
    if job.spec.command.as_ref().is_some_and(|command| command.len() > 1) {
        call.console.warning(&format!(
            "--ulimit, --tmpfs and --shm-size of {} are ignored: they need ephemon-init",
            job.image
        ));
    }
    let mut names = Names::new(PodView::of(&sender.borrow()).containers);
    let mut plain = job.without_init(names.take("job"));
    // Where the job's init does not run no container stands by for an action either.
    if let Some(variables) = &mut plain.spec.env {
        variables.retain(|variable| variable.name != env::ACTION_IMAGES);
    }
    let mark = Volume::new(mount::EPHEMON).done(plain.name()).to_string_lossy().into_owned();
    plain.spec.command = Some(["sh", "-c", KEEP_ALIVE, &mark].map(str::to_owned).to_vec());
    let pod = api.add(&[&plain.spec]).await?;
    sender.send_replace(pod);
    let mut news = PodWatch::new(sender);
    let until = Instant::now() + call.settings.timeout;
    news.running(&plain, until, call.settings.timeout, call.console).await?;
    let links = workspace::links(call.settings).into_iter().chain(job.links.iter().cloned());
    let links: Vec<(String, String)> = links.map(|link| (link.path, link.target)).collect();
    let said =
        exec::ask(api, plain.name(), &exec::setup(&job.directories, &links, &lines(hosts))).await?;
    Ok(Kept { container: plain.name().to_owned(), is_alpine: said.trim() == "alpine" })
}

/// `run_script_step` in such a container.
pub(super) async fn script_step(
    call: &Call<'_>,
    asked: &ScriptStep,
    state: &State,
    job: &Job,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    let api = Api::new(call.settings).await?;
    let mut env: BTreeMap<String, String> = job.env.clone();
    env.extend(asked.env());
    let (env, left) = outcome::passable(env);
    for warning in &left {
        call.console.warning(warning);
    }
    let env = call.in_trace(env);
    if !state.hosts.is_empty() {
        // The kubelet has rewritten the file at every later start of a container.
        let hosts = exec::setup(&[], &[], &lines(&state.hosts));
        if let Err(error) = exec::ask(&api, &job.container, &hosts).await {
            call.console
                .debug(&format!("cannot write the names of services to /etc/hosts: {error}"));
        }
    }
    let line = exec::line(&arguments::of_script(asked));
    let cwd = asked.working_directory.as_deref().or(job.working_directory.as_deref());
    let step = Step {
        mark: format!("{:016x}", fastrand::u64(..)),
        env: &env,
        prepend_path: &asked.prepend_path,
        cwd,
        line: &line,
    };
    let (code, cancelled) = exec::run(call, &api, &job.container, &step, signals).await?;
    Ok(Outcome::of_exec(code, cancelled))
}

/// Stops such a container.
pub(super) async fn stop(call: &Call<'_>, container: &str) {
    let ended = match Api::new(call.settings).await {
        // The shell that keeps it running exits on SIGTERM, and the connection may close before the
        // response arrives.
        Ok(api) => exec::ask(&api, container, END).await.map(drop),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        call.console.debug(&format!("container {container} may run until the pod ends: {error}"));
    }
}

fn lines(hosts: &[Host]) -> Vec<(String, String)> {
    hosts.iter().map(|host| (host.address.clone(), host.names.join(" "))).collect()
}

// === impl Planned ===

impl Planned {
    /// The same container with another name and without what init needs.
    pub(super) fn without_init(&self, name: String) -> Self {
        let mut plain = self.clone();
        (plain.has_init, plain.asks_init) = (false, false);
        plain.spec.name = name;
        let inits = [env::HOOK_KEY, env::CONTAINER_KEY, env::PEER_UID, env::VOLUME, env::INIT];
        if let Some(variables) = &mut plain.spec.env {
            variables.retain(|variable| !inits.contains(&variable.name.as_str()));
            for variable in variables.iter_mut().filter(|variable| variable.name == env::CONTAINER)
            {
                variable.value = Some(plain.spec.name.clone());
            }
        }
        plain
    }
}

//! `run_container_step`: a container action, in a new ephemeral container of its own.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::api::Api;
use super::call::{Call, Error};
use super::launch::{self, News};
use super::names::Names;
use super::outcome::{self, Outcome};
use super::pod_view::{PodView, Progress};
use super::request::Container;
use super::spec::{Common, Planned, Role};
use super::state::State;
use super::step::{self, Signals};
use super::template::Template;
use super::{demise, journal, log, secrets, words, workspace};
use crate::contract::{Command, Record, Run, StepKind, Token};

/// The rest of a log is waited for so long once its container is over.
const LOG_END: Duration = Duration::from_secs(5);

/// Runs a container action.
pub(super) async fn run(
    call: &Call<'_>,
    asked: &Container,
    state: Option<&State>,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    let template = Template::load(call.settings.template.as_deref())?;
    workspace::open_to_all(call.settings);
    let api = Api::new(call.settings).await?;
    let view = PodView::of(&signals.or(api.pod()).await?);
    // Without a job container there is no state, and nobody else needs the token.
    let token = match state {
        Some(state) => state.token.0.clone(),
        None => super::call::new_token()?,
    };
    let common =
        Common { settings: call.settings, pod: &view, token: token.digest(), uid: call.uid };
    let mut names = Names::new(view.containers.clone());
    let mut planned = Planned::new(Role::Step, asked, |_| template.step(), &common, &mut names)?;
    planned.env = outcome::passable(call.console, planned.env.into_iter().collect());
    for warning in &planned.warnings {
        call.console.warning(warning);
    }
    match launched(call, &api, &planned, &token, signals, &view.uid).await {
        Err(Error::Launch(error)) if planned.has_init && error.is_of_init() => {
            let name = names.take("step");
            let plain = without_init(call, &planned, name, &common, &error)?;
            launched(call, &api, &plain, &token, signals, &view.uid).await
        }
        result => result,
    }
}

/// The same container with its command as its first process and its environment in a Secret.
fn without_init(
    call: &Call<'_>,
    planned: &Planned,
    name: String,
    common: &Common<'_>,
    cause: &launch::Error,
) -> Result<Planned, Error> {
    if let Some(user) = &planned.user {
        let (image, user) = (planned.image.clone(), user.clone());
        return Err(super::spec::Error::UserByName { image, user }.into());
    }
    call.console.notice(&format!(
        "ephemon-init does not run in {}; its command runs without it, and without resource figures ({cause})",
        planned.image
    ));
    let mut plain = planned.without_init(name);
    let main = planned.main.iter().flatten();
    plain.spec.command = Some(main.map(|word| words::literal(word)).collect());
    plain.spec.working_dir.clone_from(&planned.cwd);
    if let Some(source) = plain.env_by_secret(common) {
        plain.spec.env_from.get_or_insert_default().push(source);
    }
    Ok(plain)
}

async fn launched(
    call: &Call<'_>,
    api: &Api,
    planned: &Planned,
    token: &Token,
    signals: &mut Signals,
    pod_uid: &str,
) -> Result<Outcome, Error> {
    if let Some(secret) = &planned.secret {
        signals.or(api.create_secret(secret, pod_uid, &planned.env)).await?;
    }
    let asked_ns = journal::now_ns();
    let result = started(call, api, planned, token, signals).await;
    call.record(&Record::HookLaunched {
        at_ns: asked_ns,
        container: planned.name().to_owned(),
        image: Record::text(&planned.image),
        running_at_ns: None,
    });
    if let Some(secret) = &planned.secret
        && let Err(error) = api.delete_secret(secret).await
    {
        call.console.debug(&format!("Secret {secret} is left to the end of the pod: {error}"));
    }
    result
}

async fn started(
    call: &Call<'_>,
    api: &Api,
    planned: &Planned,
    token: &Token,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    if !planned.has_init {
        workspace::link_from_here(&workspace::links(call.settings));
    }
    let pod = signals.or(api.add(&[&planned.spec])).await?;
    let (sender, _) = watch::channel(pod);
    let mut news = News::new(&sender);
    let work = async {
        if planned.has_init {
            by_init(call, planned, token, &mut news, signals).await
        } else {
            by_kubelet(call, api, planned, &mut news, signals).await
        }
    };
    tokio::select! {
        outcome = work => outcome,
        Err(error) = launch::follow(api, &sender) => Err(error.into()),
    }
}

/// Init waits for its command, shows its output and tells how it ended.
async fn by_init(
    call: &Call<'_>,
    planned: &Planned,
    token: &Token,
    news: &mut News,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    let waited = call.settings.timeout;
    let until = Instant::now() + waited;
    let volume = &call.settings.volume;
    let ready = news.ready(planned, volume, token, (until, waited), call.console);
    let (mut line, _) = tokio::select! {
        ready = ready => ready?,
        signal = signals.next() => return Err(Error::Cancelled(signal)),
    };
    call.ask_links(&mut line, planned).await?;
    let masks = secrets::of(&planned.env);
    if !masks.is_empty() {
        call.mask(&mut line, planned.name(), masks).await;
    }
    let (env, traceparent) = call.in_trace(planned.env.clone());
    let run = Run {
        command: Command::Argv(planned.main.clone().unwrap_or_default()),
        env,
        prepend_path: Vec::new(),
        cwd: planned.cwd.clone(),
        user: planned.user.clone(),
        name: call.settings.step_id.clone().unwrap_or_else(|| planned.name().to_owned()),
        kind: StepKind::Container,
        id: call.settings.step_id.clone(),
        traceparent,
        ends_container: true,
    };
    let exit = step::run(&mut line, run, call.console, signals).await.map_err(Error::from);
    let exit = demise::explained(call, planned.name(), exit).await?;
    Ok(Outcome::of(call, &exit))
}

/// The image's own entrypoint: its log by the API server, its exit code from the kubelet.
async fn by_kubelet(
    call: &Call<'_>,
    api: &Api,
    planned: &Planned,
    news: &mut News,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    // A fold without content: one line in the log, and no note on the run's page.
    call.console.group(&format!(
        "{} runs without ephemon-init: its output comes from the kubelet's log, through the API server",
        planned.image
    ));
    call.console.end_group();
    let waited = call.settings.timeout;
    let until = Instant::now() + waited;
    let name = planned.name().to_owned();
    let start = async {
        // Any end will do here: it is the step's own.
        news.until(&name, |progress| match progress {
            Progress::Waiting | Progress::Stuck { hopeless: false, .. } => None,
            other => Some(other),
        })
        .await
    };
    let begun = tokio::select! {
        begun = tokio::time::timeout_at(until, start) => begun,
        signal = signals.next() => return Err(Error::Cancelled(signal)),
    };
    if !matches!(begun, Ok(Progress::Running { .. } | Progress::Ended { .. })) {
        // For the sentence, with the kubelet's reason.
        let soon = Instant::now();
        news.running(planned, soon, waited, call.console).await?;
    }
    let ended = async {
        news.until(&name, |progress| match progress {
            Progress::Ended { exit_code, reason, message } => Some((exit_code, reason, message)),
            _ => None,
        })
        .await
    };
    let over = Cell::new(false);
    let mut log = std::pin::pin!(log::follow(call, api, &name, &over));
    let mut shown = false;
    let mut ended = std::pin::pin!(ended);
    let (code, reason, message) = loop {
        tokio::select! {
            () = &mut log, if !shown => shown = true,
            end = &mut ended => break end,
            signal = signals.next() => {
                call.console.warning(&format!(
                    "container {name} cannot be told to stop, it has no ephemon-init; it is left to the end of the pod"
                ));
                return Err(Error::Cancelled(signal));
            }
        }
    };
    over.set(true);
    if !shown && timeout(LOG_END, log).await.is_err() {
        call.console.warning(&format!("the end of container {name}'s log did not come"));
    }
    Ok(Outcome::of_code(code, &reason, &message))
}

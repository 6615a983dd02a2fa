//! `run_container_step`: a container action, in a container that stands by for it, or else in a new
//! one.

mod by_kubelet;
mod in_standby;

use std::time::{Duration, Instant as Clock};

use ephemon_base::clock::now_ns;
use ephemon_contract::{Command, Record, Run, StepKind, Token};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::Api;
use super::call::{Call, Error};
use super::launch::{self, PodWatch};
use super::names::Names;
use super::outcome::{self, Outcome};
use super::pod_view::PodView;
use super::request::Container;
use super::socket::Line;
use super::spec::{Common, Planned, Role};
use super::state::State;
use super::step::{self, Signals};
use super::template::Template;
use super::{pulls, secrets, standby, unexpected_exit, words, workspace};

/// How often a name may be taken by a concurrent step before the call gives up: more than the
/// number of steps that can run at once.
const LOST_LIMIT: u32 = 64;

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
    // Without a job container there is no state, and no other call needs the token.
    let token = match state {
        Some(state) => state.token.0.clone(),
        None => super::call::new_token()?,
    };
    // Those of another call would have another token.
    let turn = state.and_then(|_| standby::turn(call, asked, &template, &token));
    let next = turn.as_ref().and_then(|turn| turn.next.as_ref());
    let mut action = Action { call, api: &api, asked, template: &template, token: &token, next };
    let mut result = Ok(None);
    if let Some(turn) = &turn
        && let Some(container) = &turn.container
    {
        action.next = None;
        // The kubelet can start the next one while this one runs.
        let step = action.in_standby(container, &turn.view, signals);
        result = standby::beside(call, &api, next, step).await;
    }
    let result = match result {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => action.run(None, signals).await,
        Err(error) => Err(error),
    };
    match result {
        Err(Error::Launch(error)) if error.is_of_init() => {
            standby::release(call, action.next);
            action.next = None;
            action.run(Some(&error), signals).await
        }
        Err(error) => {
            // Nothing was asked for, and the place is for another.
            standby::release(call, action.next);
            if let Some(turn) = &turn {
                standby::unlearn(call, turn);
            }
            Err(error)
        }
        result => result,
    }
}

/// A container action.
struct Action<'a> {
    call: &'a Call<'a>,
    api: &'a Api,
    asked: &'a Container,
    template: &'a Template,
    token: &'a Token,
    /// A container to add once the action's own runs, because the kubelet would start it before
    /// that one.
    next: Option<&'a Planned>,
}

// === impl Action ===

impl Action<'_> {
    /// Runs the action, without init if `cause` is given. Concurrent steps may choose the same
    /// name; the API server then accepts only the first, and the other calls choose a new name.
    async fn run(
        &self,
        cause: Option<&launch::Error>,
        signals: &mut Signals,
    ) -> Result<Outcome, Error> {
        let mut lost = 0;
        loop {
            let view = PodView::of(&signals.or(self.api.pod()).await?);
            let (planned, warnings) = self.planned(&view, cause)?;
            if lost == 0 {
                self.say(&planned, &warnings, cause);
            }
            match self.launched(&planned, signals, &view.uid).await {
                Err(Error::Api(error)) if error.is_name_taken() && lost < LOST_LIMIT => {
                    lost += 1;
                    let name = planned.name();
                    self.call
                        .console
                        .debug(&format!("the name {name} is already used by another step"));
                }
                result => return result,
            }
        }
    }

    fn say(&self, planned: &Planned, warnings: &[String], cause: Option<&launch::Error>) {
        match cause {
            None => {
                for warning in planned.warnings.iter().chain(warnings) {
                    self.call.console.warning(warning);
                }
            }
            Some(cause) => self.call.console.notice(&format!(
                "ephemon-init does not run in {}; its command runs without it, and its resource usage is not reported ({cause})",
                planned.image
            )),
        }
    }

    /// The container, with an unused name, and warnings about variables that its environment cannot
    /// have.
    fn planned(
        &self,
        view: &PodView,
        cause: Option<&launch::Error>,
    ) -> Result<(Planned, Vec<String>), Error> {
        let call = self.call;
        let common = Common {
            settings: call.settings,
            pod: view,
            token: self.token,
            uid: call.uid,
            call: &call.id,
        };
        let mut names = Names::new(view.containers.clone());
        let part = |_: &[String]| self.template.step();
        let mut planned = Planned::new(Role::Step, self.asked, part, &common, &mut names)?;
        let env = outcome::passable(planned.env.into_iter().collect());
        planned.env = env.0;
        workspace::let_git_work(&mut planned.env, call.settings);
        match cause {
            Some(_) if planned.has_init => Ok((with_command_first(&planned, &common)?, env.1)),
            Some(_) => Ok((planned.without_init(planned.name().to_owned()), env.1)),
            _ => Ok((planned, env.1)),
        }
    }

    async fn launched(
        &self,
        planned: &Planned,
        signals: &mut Signals,
        pod_uid: &str,
    ) -> Result<Outcome, Error> {
        let (call, api) = (self.call, self.api);
        if let Some(secret) = &planned.secret {
            signals.or(api.create_secret(secret, pod_uid, &planned.env)).await?;
        }
        call.is_about(planned.name());
        let asked_ns = now_ns();
        let result = self.started(planned, signals).await;
        if !matches!(&result, Err(Error::Api(error)) if error.is_name_taken()) {
            call.record(&Record::HookLaunched {
                at_ns: asked_ns,
                container: planned.name().to_owned(),
                image: Record::text(&planned.image),
                running_at_ns: None,
            });
        }
        if let Some(secret) = &planned.secret
            && let Err(error) = api.delete_secret(secret).await
        {
            call.console.debug(&format!(
                "cannot delete Secret {secret}, which is removed with the pod: {error}"
            ));
        }
        result
    }

    async fn started(&self, planned: &Planned, signals: &mut Signals) -> Result<Outcome, Error> {
        let (call, api) = (self.call, self.api);
        if !planned.has_init {
            workspace::link_from_here(&workspace::links(call.settings));
        }
        call.share_masks(&planned.env);
        let pod = signals.or(api.add(&[&planned.spec])).await?;
        let (sender, _) = watch::channel(pod);
        let mut news = PodWatch::new(&sender);
        let work = async {
            if planned.has_init {
                let (line, took) = self.ready(planned, &mut news, signals).await?;
                return self.by_init(planned, line, took, signals).await;
            }
            let (asked, volume) = (Clock::now(), &call.settings.volume);
            let line = tokio::select! {
                biased;
                (line, _) = launch::in_front(planned, volume, self.token, call.console) => line,
                outcome = self.by_kubelet(planned, &mut news, signals) => return outcome,
            };
            self.by_init(planned, line, asked.elapsed(), signals).await
        };
        tokio::select! {
            outcome = work => outcome,
            Err(error) = launch::follow(api, &sender) => Err(error.into()),
        }
    }

    /// Runs the action by init, which shows its output and reports how it ended.
    async fn by_init(
        &self,
        planned: &Planned,
        line: Line,
        took: Duration,
        signals: &mut Signals,
    ) -> Result<Outcome, Error> {
        let (call, api) = (self.call, self.api);
        let names = [planned.name()];
        let step = async {
            let noted = pulls::note_early(call, api, took, &names);
            futures_util::join!(run_by(call, planned, line, signals), noted).0
        };
        standby::beside(call, api, self.next, step).await
    }

    /// Waits until the container's init can be used; and for how long that took.
    async fn ready(
        &self,
        planned: &Planned,
        news: &mut PodWatch,
        signals: &mut Signals,
    ) -> Result<(Line, Duration), Error> {
        let call = self.call;
        let waited = call.settings.timeout;
        let (asked, until) = (Clock::now(), Instant::now() + waited);
        let volume = &call.settings.volume;
        let ready = news.ready(planned, volume, self.token, (until, waited), call.console);
        let (line, _) = tokio::select! {
            ready = ready => ready?,
            signal = signals.next() => return Err(Error::Cancelled(signal)),
        };
        Ok((line, asked.elapsed()))
    }
}

/// The same container with its command as the first process and its environment in a Secret.
fn with_command_first(planned: &Planned, common: &Common<'_>) -> Result<Planned, Error> {
    if let Some(user) = &planned.user {
        let (image, user) = (planned.image.clone(), user.clone());
        return Err(super::spec::Error::UserByName { image, user }.into());
    }
    if let Some(link) = planned.links.first() {
        let error = super::volumes::Error::NoInit(link.path.clone());
        return Err(super::spec::Error::from(error).into());
    }
    let mut plain = planned.without_init(planned.name().to_owned());
    let main = planned.main.iter().flatten();
    plain.spec.command = Some(main.map(|word| words::literal(word)).collect());
    plain.spec.working_dir.clone_from(&planned.cwd);
    if let Some(source) = plain.env_by_secret(common) {
        plain.spec.env_from.get_or_insert_default().push(source);
    }
    Ok(plain)
}

/// Runs the action over its init's socket.
async fn run_by(
    call: &Call<'_>,
    planned: &Planned,
    mut line: Line,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    call.ask_links(&mut line, planned).await?;
    let masks = secrets::of(&planned.env);
    if !masks.is_empty() {
        call.mask(&mut line, planned.name(), masks).await;
    }
    let env = call.in_trace(planned.env.clone());
    let run = Run {
        command: planned.main.clone().map_or(Command::Own, Command::Argv),
        env,
        prepend_path: Vec::new(),
        cwd: planned.cwd.clone(),
        user: planned.user.clone(),
        name: call.settings.step_id.clone().unwrap_or_else(|| planned.name().to_owned()),
        kind: StepKind::Container,
        id: call.settings.step_id.clone(),
        called_ns: Some(call.began_ns),
        ends_container: true,
    };
    let exit = step::run(&mut line, run, call.console, signals).await;
    let exit = unexpected_exit::explained(call, planned.name(), exit.map_err(Error::from)).await?;
    Ok(Outcome::of(call, &exit))
}

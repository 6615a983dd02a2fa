//! `run_script_step`: runs a program in the job container over its init's socket. No shell is
//! involved: the program gets the environment unchanged. The API server is not used.

use std::collections::BTreeMap;

use ephemon_contract::{Command, Run, StepKind};
use tracing::Instrument as _;

use super::call::{Call, Error};
use super::outcome::{self, Outcome};
use super::request::ScriptStep;
use super::socket::{self, Line};
use super::state::State;
use super::step::{self, Signals};
use super::{arguments, fallback, secrets, unexpected_exit, workspace};

/// Runs a step.
pub(super) async fn run(
    call: &Call<'_>,
    asked: &ScriptStep,
    state: Option<&State>,
    signals: &mut Signals,
) -> Result<Outcome, Error> {
    let state = state.ok_or(Error::NotPrepared)?;
    let job = state.job.as_ref().ok_or(Error::NotPrepared)?;
    workspace::open_to_all(call.settings);
    call.is_about(&job.container);
    if job.by_exec {
        return fallback::script_step(call, asked, state, job, signals).await;
    }
    let gone = |source| {
        let name = job.container.clone();
        match source {
            source @ socket::Error::Impostor { .. } => Error::Container { name, source },
            source => Error::JobGone { name, source },
        }
    };
    let connect = Line::open(&call.settings.volume, &job.container, &state.token.0);
    let connect = connect.instrument(tracing::info_span!("connect"));
    let opened = connect.await.map_err(gone);
    let (mut line, _) = unexpected_exit::explained(call, &job.container, opened).await?;
    let mut env: BTreeMap<String, String> = job.env.clone();
    env.extend(asked.env());
    let (env, left) = outcome::passable(env);
    for warning in &left {
        call.console.warning(warning);
    }
    let masks = secrets::of(&env);
    if !masks.is_empty() {
        call.mask(&mut line, &job.container, masks).await;
    }
    let env = call.in_trace(env);
    let run = Run {
        command: Command::Argv(arguments::of_script(asked)),
        env,
        prepend_path: asked.prepend_path.clone(),
        cwd: asked.working_directory.clone().or_else(|| job.working_directory.clone()),
        user: job.user.clone(),
        name: call.settings.step_id.clone().unwrap_or_else(|| "step".to_owned()),
        kind: StepKind::Script,
        id: call.settings.step_id.clone(),
        called_ns: Some(call.began_ns),
        ends_container: false,
    };
    let exit = step::run(&mut line, run, call.console, signals).await.map_err(Error::from);
    let exit = unexpected_exit::explained(call, &job.container, exit).await?;
    Ok(Outcome::of(call, &exit))
}

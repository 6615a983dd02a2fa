//! Plans a request without the API server: the containers and warnings that a call would produce,
//! so that many requests can be checked quickly.

use std::cell::RefCell;
use std::error::Error;
use std::path::Path;

use ephemon_contract::Token;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};

use super::call::{self, Call};
use super::console::Console;
use super::names::Names;
use super::pod_view::PodView;
use super::prepare;
use super::request::{Command, Container, Request};
use super::settings::Settings;
use super::spec::{Common, Planned, Role};
use super::template::Template;

/// The containers that a request adds to the runner's pod, and the warnings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DryRun {
    /// The containers of the patch, in its order.
    pub containers: Vec<EphemeralContainer>,
    /// Warnings for the author of the workflow.
    pub warnings: Vec<String>,
}

/// Plans a request of the runner for a pod. `variable` looks up the hook's environment, and the
/// files of the runner's container are below `root`.
///
/// # Errors
///
/// The errors of the call that can occur before it connects to the API server.
pub fn dry_run(
    request: &[u8],
    pod: &Pod,
    variable: impl Fn(&str) -> Option<String>,
    root: &Path,
) -> Result<DryRun, Box<dyn Error + Send + Sync>> {
    let request = Request::parse(request)?;
    let settings = Settings { root: root.to_owned(), ..Settings::from_env(variable) };
    let console = Console::new();
    let call = Call {
        settings: &settings,
        console: &console,
        uid: 0,
        began_ns: 0,
        id: String::new(),
        container: RefCell::default(),
    };
    let template = Template::load(settings.template.as_deref())?;
    let view = PodView::of(pod);
    let token = call::new_token()?;
    let (containers, warnings) = match &request.command {
        Command::PrepareJob(asked) => prepare::planned(&call, asked, &template, &view, &token)?,
        Command::RunContainerStep(asked) => step(&call, asked, &template, &view, &token)?,
        Command::RunScriptStep(_) | Command::CleanupJob => Default::default(),
    };
    Ok(DryRun { containers, warnings: [template.warnings, warnings].concat() })
}

fn step(
    call: &Call<'_>,
    asked: &Container,
    template: &Template,
    view: &PodView,
    token: &Token,
) -> Result<(Vec<EphemeralContainer>, Vec<String>), call::Error> {
    let common =
        Common { settings: call.settings, pod: view, token, uid: call.uid, call: &call.id };
    let mut names = Names::new(view.containers.clone());
    let step = Planned::new(Role::Step, asked, |_| template.step(), &common, &mut names)?;
    Ok((vec![step.spec], step.warnings))
}

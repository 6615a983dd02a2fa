//! What every call of the hook uses, and every error with which a call can fail.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use ephemon_contract::{Record, Reply, Request, Signal, Token, mount};

use super::console::Console;
use super::context::Context;
use super::settings::Settings;
use super::socket::{self, Line};
use super::spec::Planned;
use super::step::Signals;
use super::{api, journal, launch, ports, request, secrets, spec, step, template, workspace};

/// One call of the hook.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) settings: &'a Settings,
    pub(super) console: &'a Console,
    /// The hook's user id.
    pub(super) uid: u32,
    /// Start of the call, in nanoseconds since 1970.
    pub(super) began_ns: u64,
    /// Random, so that concurrent calls can be told apart.
    pub(super) id: String,
    /// The container that the call uses, once it is known.
    pub(super) container: RefCell<Option<String>>,
}

/// Why a call failed, as a sentence for the author of the workflow or the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the runner's request from standard input: {0}")]
    Input(io::Error),
    #[error(transparent)]
    Request(#[from] request::Error),
    #[error(transparent)]
    Template(#[from] template::Error),
    #[error(transparent)]
    Spec(#[from] spec::Error),
    #[error(transparent)]
    Ports(#[from] ports::Error),
    #[error(
        "cannot forward port {host}/{protocol} to port {container} of the service: {why}; connect to port {container}, or map another port in `ports:`"
    )]
    Forward { host: u16, container: u16, protocol: ports::Protocol, why: String },
    #[error(transparent)]
    Api(#[from] api::Error),
    #[error(transparent)]
    Launch(#[from] launch::Error),
    #[error("container {name}: {source}")]
    Container { name: String, source: socket::Error },
    #[error("{image} does not become healthy: {text}")]
    Unhealthy { image: String, text: String },
    #[error(
        "{image} (container {name}) ended with exit code {code}{reason} before it was ready{hint}"
    )]
    ServiceEnded { image: String, name: String, code: i32, reason: String, hint: &'static str },
    #[error(
        "the job is not prepared: the runner passed no state; check the output of the step \"Initialize containers\""
    )]
    NotPrepared,
    #[error(
        "the job container {name} is gone ({source}); it was killed or ran out of memory; check the output of the steps before this one"
    )]
    JobGone { name: String, source: socket::Error },
    #[error("container {name} exited unexpectedly with exit code {code}{why}")]
    UnexpectedExit { name: String, code: i32, why: String },
    #[error(transparent)]
    Step(#[from] step::Error),
    #[error("cannot run commands in container {name}: {why}")]
    Exec { name: String, why: String },
    #[error(
        "the connection to container {0} closed before the command's exit code arrived; the command counts as failed"
    )]
    ExecCut(String),
    #[error(
        "cannot forward ports: ephemon-init does not run in {image} ({why}); connect to the services' own ports"
    )]
    NoNetwork { image: String, why: String },
    #[error("cannot read /dev/urandom: {0}")]
    Random(io::Error),
    #[error(
        "cannot write the response file {path}: {source}; without it the runner has no record of the job's containers"
    )]
    Response { path: PathBuf, source: io::Error },
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("the call was cancelled")]
    Cancelled(Signal),
}

// === impl Error ===

impl Error {
    /// The kind of failure, as the value of `error.type`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Input(_) | Self::Request(_) => "request",
            Self::Template(_) => "template",
            Self::Spec(_) | Self::Ports(_) | Self::Forward { .. } | Self::NoNetwork { .. } => {
                "unsupported"
            }
            Self::Api(_) => "api",
            Self::Container { source: socket::Error::Impostor { .. }, .. }
            | Self::Launch(launch::Error::Socket {
                source: socket::Error::Impostor { .. }, ..
            }) => "impostor",
            Self::Launch(_) => "launch",
            Self::Container { .. } | Self::JobGone { .. } | Self::UnexpectedExit { .. } => {
                "container_gone"
            }
            Self::Unhealthy { .. } | Self::ServiceEnded { .. } => "service",
            Self::NotPrepared => "not_prepared",
            Self::Exec { .. } | Self::ExecCut(_) => "exec",
            Self::Step(_) => "step",
            Self::Random(_) | Self::Response { .. } | Self::Signals(_) => "system",
            Self::Cancelled(_) => "cancelled",
        }
    }
}

// === impl Call ===

impl Call<'_> {
    /// Sets the container that the call uses; the last one is recorded.
    pub(super) fn is_about(&self, container: &str) {
        self.container.replace(Some(container.to_owned()));
    }

    /// The trace context of the job.
    pub(super) fn context(&self) -> Context<'_> {
        Context::of(self.settings)
    }

    /// A step's environment with the trace context of its span. Variables that the workflow itself
    /// sets take precedence.
    pub(super) fn in_trace(&self, mut env: Vec<(String, String)>) -> Vec<(String, String)> {
        let context = self.context();
        let span = context.step(self.began_ns);
        for (name, value) in context.env(span) {
            if !env.iter().any(|(known, _)| known == name) {
                env.push((name.to_owned(), value));
            }
        }
        env
    }

    /// Sends one request to a container's init.
    pub(super) async fn ask(
        &self,
        line: &mut Line,
        container: &str,
        request: &Request,
    ) -> Result<Reply, Error> {
        let failed = |source| Error::Container { name: container.to_owned(), source };
        line.ask(request).await.map_err(failed)
    }

    /// Asks init to create what a container needs: `/github/*` and the workflow's volumes.
    pub(super) async fn ask_links(&self, line: &mut Line, planned: &Planned) -> Result<(), Error> {
        if !planned.directories.is_empty() {
            let directories = Request::Directories(planned.directories.clone());
            self.ask(line, planned.name(), &directories).await?;
        }
        let own = workspace::links(self.settings).into_iter();
        let (tools, links): (Vec<_>, Vec<_>) =
            own.chain(planned.links.iter().cloned()).partition(|link| link.path == mount::TOOLS);
        self.ask(line, planned.name(), &Request::Links(links)).await?;
        if !tools.is_empty()
            && let Err(error) = self.ask(line, planned.name(), &Request::Links(tools)).await
        {
            // Actions download tools that they do not find.
            self.console.warning(&format!("the job has no tool cache: {error}"));
        }
        Ok(())
    }

    /// Asks init to mask values in the container's own log. If there are too many, init withholds
    /// that log, and the step continues.
    pub(super) async fn mask(&self, line: &mut Line, container: &str, values: Vec<String>) {
        if let Err(error) = self.ask(line, container, &Request::Mask(values)).await {
            self.console.warning(&format!("the log of the container is withheld: {error}"));
        }
    }

    /// Passes the secrets of an environment to the agent, which masks them in the logs of all
    /// containers.
    pub(super) fn share_masks(&self, env: &[(String, String)]) {
        if let Err(error) = secrets::share(&self.settings.volume, &secrets::of(env)) {
            self.console.warning(&format!(
                "cannot pass the secrets of the environment to the node's agent for masking: {error}"
            ));
        }
    }

    /// Hides the key of a container whose init is missing: from then on it opens nothing, but the
    /// image's own program has it in its environment.
    pub(super) fn hide_key(&self, container: &str, token: &Token) {
        let key = token.container_key(container).expose();
        self.console.mask(&key);
        if let Err(error) = secrets::share(&self.settings.volume, &[key]) {
            self.console.debug(&format!(
                "cannot pass the key of container {container} to the node's agent for masking: {error}"
            ));
        }
    }

    /// Writes a record for the agent. A failure is only a debug message, because the job does not
    /// depend on it.
    pub(super) fn record(&self, record: &Record) {
        if let Err(error) = journal::append(&self.settings.volume, record) {
            self.console.debug(&format!("cannot write the journal: {error}"));
        }
    }
}

/// Creates a token for one job.
pub(super) fn new_token() -> Result<Token, Error> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::Random)?;
    Ok(Token::from_random(bytes))
}

// === impl Signals ===

impl Signals {
    /// Does work that precedes the step's own process; a signal ends it at once.
    pub(super) async fn or<T, E>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error>
    where
        Error: From<E>,
    {
        tokio::select! {
            result = work => Ok(result?),
            signal = self.next() => Err(Error::Cancelled(signal)),
        }
    }
}

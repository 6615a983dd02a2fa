//! Runs a service's health command once: by its init, else by `exec` through the API server.

use std::time::Duration;

use ephemon_contract::{Command, Health, HealthReport, Probe, Reply, Request, Welcome};

use crate::api;
use crate::api::Api;
use crate::call::Error;
use crate::exec;
use crate::socket::Line;

/// Longest pause between probes, so that a service that is ready is detected soon.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// The same for probes through the API server.
const EXEC_PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How a health command is run.
pub(super) enum Prober<'a> {
    Init { line: Box<Line>, container: &'a str, command: Command },
    Exec { api: &'a Api, container: &'a str, command: &'a str },
}

// === impl Prober ===

impl<'a> Prober<'a> {
    pub(super) fn new(
        api: &'a Api,
        container: &'a str,
        command: &'a str,
        line: Option<(Line, Welcome)>,
    ) -> Self {
        match line {
            Some((line, welcome)) => {
                let command = by_init(command, welcome.shell);
                Self::Init { line: Box::new(line), container, command }
            }
            None => Self::Exec { api, container, command },
        }
    }

    /// Longest pause between two probes.
    pub(super) fn often(&self) -> Duration {
        match self {
            Self::Init { .. } => PROBE_INTERVAL,
            Self::Exec { .. } => EXEC_PROBE_INTERVAL,
        }
    }

    /// Runs the health command; a failure contains its output.
    ///
    /// # Errors
    ///
    /// [`Error::Api`] if the service account may not run commands; others if the container has
    /// ended.
    pub(super) async fn probe(&mut self, limit: Duration) -> Result<Result<(), String>, Error> {
        match self {
            Self::Init { line, container, command } => {
                let request = Request::Health(once(command.clone(), limit));
                let failed = |source| Error::Container { name: (*container).to_owned(), source };
                match line.ask(&request).await.map_err(failed)? {
                    Reply::Health(HealthReport { healthy: true, .. }) => Ok(Ok(())),
                    Reply::Health(report) => Ok(Err(report.text)),
                    _ => Ok(Err("cannot decode the reply of ephemon-init".to_owned())),
                }
            }
            Self::Exec { api, container, command } => {
                match exec::probe(api, container, command, limit).await {
                    Err(refused @ api::Error::Refused { code: 401 | 403, .. }) => {
                        Err(refused.into())
                    }
                    Err(error) => Ok(Err(error.to_string())),
                    Ok(result) => Ok(result),
                }
            }
        }
    }
}

fn once(command: Command, limit: Duration) -> Health {
    Health {
        probe: Probe::Command(command),
        interval_ms: 0,
        timeout_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        retries: 1,
        start_period_ms: 0,
    }
}

/// As Docker runs it: the whole line by the image's shell. A step's line is run with `exec` in
/// front, which would reduce `a && b` to `a`.
fn by_init(command: &str, has_shell: bool) -> Command {
    if has_shell {
        Command::Argv(["/bin/sh", "-c", command].map(str::to_owned).to_vec())
    } else {
        Command::Line(command.to_owned())
    }
}

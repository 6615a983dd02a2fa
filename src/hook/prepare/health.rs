//! Waits until a service is ready: by its own health command, else by a connection to its ports,
//! else by the kubelet's status.

use std::time::Duration;

use ephemon_contract::{Token, Welcome};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::listening;
use super::probe::Prober;
use super::schedule::{Probed, Schedule, Tally, Verdict};
use crate::api::Api;
use crate::call::{Call, Error};
use crate::console::quote;
use crate::launch;
use crate::launch::{PodWatch, STATUS_TIMEOUT};
use crate::log;
use crate::pod_view::Progress;
use crate::socket::Line;
use crate::spec::Planned;

/// How long to wait for a service without a health command to listen before the job continues.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to watch a service that declares nothing to wait for: a service that cannot start exits
/// at once, and the kubelet checks once a second.
const SETTLE_TIME: Duration = Duration::from_millis(1_200);
/// The hint for a service that ended because its address was in use.
const IN_USE: &str = "; its log says that an address is in use: the containers of a job share one network, so two services cannot listen on one port; change the port of one of them, with a variable of its image or with `command:`";

/// Waits until a service is ready, or returns why it is not.
#[tracing::instrument(skip_all, fields(
    otel.name = "wait for service",
    k8s.container.name = service.name(),
    container.image.name = service.image,
))]
pub(super) async fn healthy(
    call: &Call<'_>,
    api: &Api,
    service: &Planned,
    token: &Token,
    mut news: PodWatch,
    until: Instant,
) -> Result<(), Error> {
    let wait = Wait { call, api, service, until };
    let command = service.health.command.as_ref().filter(|_| !service.health.disabled);
    // What needs no init is not waited for.
    let is_needed = command.is_some() || !service.warnings_without_init.is_empty();
    let line = if service.has_init {
        let volume = &call.settings.volume;
        let waited = (until, call.settings.timeout);
        Some(news.ready(service, volume, token, waited, call.console).await?)
    } else if service.asks_init && is_needed {
        wait.in_front(&mut news, token).await?
    } else {
        None
    };
    let ports = listening::tcp(&service.ports);
    if let Some(command) = command {
        if line.is_none()
            && let Progress::Ended { exit_code, .. } = wait.running(&mut news).await?
        {
            return Err(wait.over(exit_code, String::new()).await);
        }
        let prober = Prober::new(api, service.name(), command, line);
        let settled = tokio::select! {
            settled = wait.by_command(prober, &ports) => settled,
            ended = wait.ended(&mut news) => Err(ended),
        };
        match settled {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // Its init has ended; the kubelet will report why.
            Err(Error::Container { source, .. }) if source.is_early() => {
                let over = timeout(STATUS_TIMEOUT, wait.ended(&mut news)).await;
                let name = service.name().to_owned();
                return Err(over.unwrap_or(Error::Container { name, source }));
            }
            Err(error) => return Err(error),
        }
    }
    if ports.is_empty() {
        return wait.settle(&mut news).await;
    }
    let patience =
        if command.is_some() { Schedule::new(&service.health).budget() } else { LISTEN_TIMEOUT };
    wait.by_ports(&mut news, &ports, patience).await
}

/// One service to wait for.
struct Wait<'a> {
    call: &'a Call<'a>,
    api: &'a Api,
    service: &'a Planned,
    until: Instant,
}

// === impl Wait ===

impl Wait<'_> {
    /// The connection to its init, if the node's agent has put one in front.
    async fn in_front(
        &self,
        news: &mut PodWatch,
        token: &Token,
    ) -> Result<Option<(Line, Welcome)>, Error> {
        let (service, console) = (self.service, self.call.console);
        let volume = &self.call.settings.volume;
        let without = async {
            self.running(news).await?;
            if launch::time_for_init(service, volume, news).await {
                // What the kubelet tells of its end is said next.
                self.call.hide_key(service.name(), token);
            } else {
                launch::say_without_init(self.call, service, token);
            }
            Ok(None)
        };
        tokio::select! {
            biased;
            line = launch::in_front(service, volume, token, console) => Ok(Some(line)),
            without = without => without,
        }
    }

    /// Runs the health command until its result is known; returns `false` if it cannot be run.
    async fn by_command(&self, mut prober: Prober<'_>, ports: &[u16]) -> Result<bool, Error> {
        let schedule = Schedule::new(&self.service.health);
        let mut tally = Tally::new(&schedule);
        let started = Instant::now();
        loop {
            let began = started.elapsed();
            let probe = timeout_at(self.until, prober.probe(schedule.timeout)).await;
            let result = match probe {
                Ok(Ok(result)) => result,
                Ok(Err(Error::Api(refused))) => {
                    self.call.console.warning(&format!(
                        "the health command of {} is not run: {refused}; {}",
                        self.service.image,
                        if ports.is_empty() {
                            "the job goes on as soon as the service runs"
                        } else {
                            "the hook tries connections to its ports instead"
                        }
                    ));
                    return Ok(false);
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.unhealthy("it timed out")),
            };
            let over = started.elapsed();
            let listens = result.is_ok() && listening::any(ports).await;
            let outcome = Probed { began, ended: over, succeeded: result.is_ok(), listens };
            match tally.judge(outcome) {
                Verdict::Healthy => return Ok(true),
                Verdict::Unhealthy => {
                    return Err(self.unhealthy(&result.err().unwrap_or_default()));
                }
                Verdict::Starting => sleep(schedule.pause(prober.often())).await,
            }
        }
    }

    fn unhealthy(&self, text: &str) -> Error {
        Error::Unhealthy { image: self.service.image.clone(), text: quote(text) }
    }

    async fn by_ports(
        &self,
        news: &mut PodWatch,
        ports: &[u16],
        patience: Duration,
    ) -> Result<(), Error> {
        // Pulling an image may take longer than the service's own start.
        let given_up = async {
            self.running(news).await?;
            tokio::select! {
                error = self.ended(news) => Err(error),
                () = sleep_until(self.until.min(Instant::now() + patience)) => Ok(ports.to_vec()),
            }
        };
        let silent = tokio::select! {
            biased;
            silent = listening::most(ports) => silent,
            silent = given_up => silent?,
        };
        if !silent.is_empty() {
            let list: Vec<String> = silent.iter().map(u16::to_string).collect();
            self.call.console.warning(&format!(
                "{} does not listen on its declared port {}; the job goes on",
                self.service.image,
                list.join(", ")
            ));
        }
        Ok(())
    }

    /// The service declares nothing to wait for.
    async fn settle(&self, news: &mut PodWatch) -> Result<(), Error> {
        let ended = match self.running(news).await? {
            Progress::Ended { exit_code, reason, .. } => Some((exit_code, reason)),
            _ => timeout(SETTLE_TIME, self.end(news)).await.ok(),
        };
        match ended {
            None => Ok(()),
            Some((0, _)) => {
                let image = &self.service.image;
                self.call.console.warning(&format!("{image} has already exited with exit code 0"));
                Ok(())
            }
            Some((code, reason)) => Err(self.over(code, reason).await),
        }
    }

    async fn running(&self, news: &mut PodWatch) -> Result<Progress, Error> {
        let (call, until) = (self.call, self.until);
        match news.running(self.service, until, call.settings.timeout, call.console).await {
            // It is started again without.
            Err(error) if error.is_of_init_in_front(self.service) => Err(error.into()),
            Err(launch::Error::Ended { code, reason, message, .. }) if !self.service.has_init => {
                Err(self.over(code, format!("{reason}{message}")).await)
            }
            other => Ok(other?),
        }
    }

    /// Waits until a running service ends.
    async fn ended(&self, news: &mut PodWatch) -> Error {
        let (code, reason) = self.end(news).await;
        self.over(code, reason).await
    }

    /// The exit code, and the kubelet's reason in parentheses.
    async fn end(&self, news: &mut PodWatch) -> (i32, String) {
        let over = news.until(self.service.name(), |progress| match progress {
            Progress::Ended { exit_code, reason, .. } => Some((exit_code, reason)),
            _ => None,
        });
        let (code, reason) = over.await;
        let reason =
            if reason.is_empty() { String::new() } else { format!(" ({})", quote(&reason)) };
        (code, reason)
    }

    async fn over(&self, code: i32, reason: String) -> Error {
        let in_use = log::says_address_in_use(self.api, self.service.name()).await;
        Error::ServiceEnded {
            image: self.service.image.clone(),
            name: self.service.name().to_owned(),
            code,
            reason,
            hint: if in_use { IN_USE } else { "" },
        }
    }
}

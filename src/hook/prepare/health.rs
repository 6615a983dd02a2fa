//! When a service can be used: by its own health command, else by a connection to its ports, else
//! by the kubelet's word that it runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::call::{Call, Error};
use super::super::launch::News;
use super::super::pod_view::Progress;
use super::super::ports::Protocol;
use super::super::socket::Line;
use super::super::spec::Planned;
use crate::contract::{Command, Health, HealthReport, Probe, Reply, Request, Token};

/// Docker's defaults of `--health-*`.
const INTERVAL_MS: u32 = 30_000;
const TIMEOUT_MS: u32 = 30_000;
const RETRIES: u32 = 3;
/// Longest pause between probes: a service that is up is not waited for.
const OFTEN_MS: u32 = 500;
/// A service without a health command may take so long to listen before the job goes on.
const LISTENS: Duration = Duration::from_secs(30);
/// Pause between attempts to connect: the other end is in the same network.
const TRY: Duration = Duration::from_millis(20);

/// Waits until a service can be used, or says why it cannot.
#[tracing::instrument(skip_all, fields(
    otel.name = "wait for service",
    k8s.container.name = service.name(),
    container.image.name = service.image,
))]
pub(super) async fn healthy(
    call: &Call<'_>,
    service: &Planned,
    token: &Token,
    mut news: News,
    until: Instant,
) -> Result<(), Error> {
    let waited = call.settings.timeout;
    let command = service.health.command.as_ref().filter(|_| !service.health.disabled);
    if service.has_init {
        let volume = &call.settings.volume;
        let ready = news.ready(service, volume, token, (until, waited), call.console);
        let (mut line, welcome) = ready.await?;
        if let Some(command) = command {
            let command = probe(command, welcome.shell);
            return ask(call, service, &mut line, command, until).await;
        }
    } else if command.is_some() {
        call.console.warning(&format!(
            "the health command of {} is not run: its own entrypoint is the container's first process; connections to its ports are tried instead (give --entrypoint to have the command run)",
            service.image
        ));
    }
    let ports: Vec<u16> = service
        .ports
        .iter()
        .filter(|port| port.protocol == Protocol::Tcp)
        .map(|port| port.container)
        .collect();
    if ports.is_empty() {
        return running(call, service, &mut news, until).await;
    }
    let patience = if command.is_some() { budget(service) } else { LISTENS };
    let by = until.min(Instant::now() + patience);
    tokio::select! {
        biased;
        () = listening(&ports) => Ok(()),
        error = ends(call, service, &mut news, until) => match error {
            Some(error) => Err(error),
            None => Ok(()),
        },
        () = tokio::time::sleep_until(by) => {
            running(call, service, &mut news, until).await?;
            call.console.warning(&format!(
                "{} does not listen on port {} after {} s; the job goes on",
                service.image,
                ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
                patience.as_secs(),
            ));
            Ok(())
        }
    }
}

/// As Docker runs it: by the image's shell, the whole line. A step's line is run with `exec` in
/// front, which would make `a && b` the answer of `a` alone.
fn probe(command: &str, has_shell: bool) -> Command {
    if has_shell {
        Command::Argv(["/bin/sh", "-c", command].map(str::to_owned).to_vec())
    } else {
        Command::Line(command.to_owned())
    }
}

/// Has init run the health command.
async fn ask(
    call: &Call<'_>,
    service: &Planned,
    line: &mut Line,
    command: Command,
    until: Instant,
) -> Result<(), Error> {
    let health = &service.health;
    let interval = health.interval_ms.unwrap_or(INTERVAL_MS);
    let budget = u32::try_from(budget(service).as_millis()).unwrap_or(u32::MAX);
    let request = Request::Health(Health {
        probe: Probe::Command(command),
        interval_ms: interval.min(OFTEN_MS),
        timeout_ms: health.timeout_ms.unwrap_or(TIMEOUT_MS),
        // More often than asked for, but not given up any sooner.
        retries: health.retries.unwrap_or(RETRIES).max(1),
        start_period_ms: budget,
    });
    let unhealthy = |text: &str| Error::Unhealthy {
        image: service.image.clone(),
        text: super::super::console::quote(text),
    };
    match timeout_at(until, call.ask(line, service.name(), &request)).await {
        Ok(Ok(Reply::Health(HealthReport { healthy: true, .. }))) => Ok(()),
        Ok(Ok(Reply::Health(report))) => Err(unhealthy(&report.text)),
        Ok(Ok(_)) => Err(unhealthy("the answer of ephemon-init is not understood")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(unhealthy("it took too long")),
    }
}

/// All the time that the options give a service to become healthy.
fn budget(service: &Planned) -> Duration {
    let health = &service.health;
    let interval = u64::from(health.interval_ms.unwrap_or(INTERVAL_MS));
    let retries = u64::from(health.retries.unwrap_or(RETRIES).max(1));
    let start = u64::from(health.start_period_ms.unwrap_or(0));
    Duration::from_millis(start.saturating_add(interval.saturating_mul(retries)))
}

/// Until somebody accepts connections at each port.
async fn listening(ports: &[u16]) {
    for port in ports {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        while !matches!(timeout(LISTENS, TcpStream::connect(address)).await, Ok(Ok(_))) {
            sleep(TRY).await;
        }
    }
}

async fn running(
    call: &Call<'_>,
    service: &Planned,
    news: &mut News,
    until: Instant,
) -> Result<(), Error> {
    match news.running(service, until, call.settings.timeout, call.console).await? {
        Progress::Ended { .. } => {
            call.console.warning(&format!("{} has ended already, with exit code 0", service.image));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Until a service is over, or cannot start; none where it ended in peace.
async fn ends(
    call: &Call<'_>,
    service: &Planned,
    news: &mut News,
    until: Instant,
) -> Option<Error> {
    if let Err(error) = running(call, service, news, until).await {
        return Some(error);
    }
    let (image, name) = (service.image.clone(), service.name().to_owned());
    news.until(service.name(), |progress| match progress {
        Progress::Ended { exit_code: 0, .. } => Some(None),
        Progress::Ended { exit_code, reason, .. } => Some(Some(Error::ServiceEnded {
            image: image.clone(),
            name: name.clone(),
            code: exit_code,
            reason: super::super::console::quote(&reason),
        })),
        _ => None,
    })
    .await
}

//! Starts planned containers: one patch, then events of the kubelet and connections to the inits,
//! until each container runs or has failed. Based on events, not on polling.

mod in_front;
mod pull;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use ephemon_contract::{Token, Volume, Welcome};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::WatchEvent;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::instrument;

use super::api::{self, Api};
use super::console::{Console, quote, quote_most};
use super::pod_view::Progress;
use super::socket::{self, Line};
use super::spec::Planned;
pub(super) use in_front::{in_front, say_without_init, time_for_init};

/// How often to check for the socket without an inotify event, because some file systems send none.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long the kubelet is given to report the end of a container that is known to be over, or may be: it
/// checks once a second, and on a busy node its status is later.
pub(super) const STATUS_TIMEOUT: Duration = Duration::from_secs(15);
/// If the kubelet reports a container as running for this long and its init does not answer, init
/// does not run.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a container may take to start before its progress is logged, and how often after that.
const FIRST_PROGRESS_AFTER: Duration = Duration::from_secs(5);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);
/// Most characters of the kubelet's message about an image: it repeats the image's name before the
/// reason.
const MESSAGE_CHARS_MAX: usize = 1200;
/// The reason if none is known.
const SILENT: &str = "the kubelet has not started it yet";
/// Pause after a watch that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Why a container does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Api(#[from] api::Error),
    #[error("{delay} does not start: {}{}{}", .delay.reason, .delay.message, .delay.hint)]
    Stuck { delay: Box<Delay> },
    #[error("{delay} did not start within {seconds} s: {}{}{}", .delay.reason, .delay.message, .delay.hint)]
    TimedOut { delay: Box<Delay>, seconds: u64 },
    #[error(
        "{image} (container {name}) exited while it started, with exit code {code}{reason}{message}"
    )]
    Ended { image: String, name: String, code: i32, reason: String, message: String },
    #[error(
        "{image} (container {name}) runs, but its ephemon-init did not answer within {seconds} s: it cannot run in this image, or another container of the pod has replaced its socket"
    )]
    Mute { image: String, name: String, seconds: u64 },
    #[error("container {name}: {source}")]
    Socket { name: String, source: socket::Error },
    #[error("the runner's pod was deleted")]
    PodGone,
}

/// A container that delays the start.
#[derive(Debug)]
pub(super) struct Delay {
    image: String,
    name: String,
    reason: String,
    /// Empty, or begins with a colon.
    message: String,
    /// Empty, or begins with a semicolon.
    hint: String,
}

/// The pod's present state, and its changes.
#[derive(Debug)]
pub(super) struct PodWatch {
    pod: watch::Receiver<Pod>,
}

/// Watches the pod while it is polled; ends only with an error.
pub(super) async fn follow(api: &Api, news: &watch::Sender<Pod>) -> Result<(), Error> {
    let mut version = news.borrow().metadata.resource_version.clone().unwrap_or_default();
    loop {
        let mut fresh = false;
        match api.watch(&version).await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => {
                            version = pod.metadata.resource_version.clone().unwrap_or_default();
                            news.send_replace(pod);
                        }
                        Ok(WatchEvent::Bookmark(bookmark)) => {
                            version = bookmark.metadata.resource_version;
                        }
                        Ok(WatchEvent::Deleted(_)) => return Err(Error::PodGone),
                        // The resource version is too old, or the connection broke: get the pod
                        // again.
                        Ok(WatchEvent::Error(_)) | Err(_) => {
                            fresh = true;
                            break;
                        }
                    }
                }
            }
            Err(error @ api::Error::Refused { code: 401 | 403, .. }) => return Err(error.into()),
            Err(_) => fresh = true,
        }
        if fresh {
            sleep(RETRY_INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
            let pod = api.pod().await?;
            version = pod.metadata.resource_version.clone().unwrap_or_default();
            news.send_replace(pod);
        }
    }
}

// === impl Error ===

impl Error {
    /// Whether this can be caused by an init that cannot run in the container.
    pub(super) fn is_of_init(&self) -> bool {
        // Exit codes of runtimes and the kernel for a program that cannot be started.
        matches!(self, Self::Ended { code: 126..=128, .. } | Self::Mute { .. })
    }
}

// === impl Delay ===

impl Delay {
    fn new(planned: &Planned, reason: &str, message: &str) -> Self {
        Self {
            image: planned.image.clone(),
            name: planned.name().to_owned(),
            reason: quote(reason),
            message: after_colon(message),
            hint: hint(planned, reason, message),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (container {})", self.image, self.name)
    }
}

// === impl PodWatch ===

impl PodWatch {
    /// The changes that the sender publishes from now on.
    pub(super) fn new(sender: &watch::Sender<Pod>) -> Self {
        Self { pod: sender.subscribe() }
    }

    /// Waits until the kubelet's status of a container meets a condition.
    pub(super) async fn until<T>(
        &mut self,
        container: &str,
        mut satisfied: impl FnMut(Progress) -> Option<T>,
    ) -> T {
        loop {
            let progress = Progress::of(&self.pod.borrow_and_update(), container);
            if let Some(found) = satisfied(progress) {
                return found;
            }
            if self.pod.changed().await.is_err() {
                // The watch has ended with an error, which the caller gets from `follow`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the kubelet reports a container as running, or as ended with exit code 0.
    pub(super) async fn running(
        &mut self,
        planned: &Planned,
        until: Instant,
        waited: Duration,
        console: &Console,
    ) -> Result<Progress, Error> {
        match self.begun(planned, until, waited, console).await? {
            Progress::Ended { exit_code, reason, message }
                if exit_code != 0 || planned.has_init =>
            {
                Err(ended(planned, exit_code, &reason, &message))
            }
            begun => Ok(begun),
        }
    }

    /// Waits until the kubelet reports a container as running or ended.
    #[instrument(skip_all, fields(
        otel.name = "wait until it runs",
        k8s.container.name = planned.name(),
        container.image.name = planned.image,
    ))]
    pub(super) async fn begun(
        &mut self,
        planned: &Planned,
        until: Instant,
        waited: Duration,
        console: &Console,
    ) -> Result<Progress, Error> {
        let (mut pulls, start) = (pull::Pulls::default(), Instant::now());
        let mut mention = start + FIRST_PROGRESS_AFTER;
        let mut last = (String::new(), String::new());
        let name = planned.name();
        loop {
            let progress = Progress::of(&self.pod.borrow_and_update(), name);
            match progress {
                Progress::Waiting => pulls.again(),
                Progress::Stuck { reason, message } => {
                    if last.0.is_empty() {
                        let line =
                            format!("{} (container {name}): {}", planned.image, quote(&reason));
                        console.line(&line);
                    }
                    last = (reason, message);
                    if pulls.note(&last.0, &last.1) {
                        return Err(stuck(planned, &last.0, &last.1));
                    }
                }
                begun => return Ok(begun),
            }
            tokio::select! {
                changed = self.pod.changed() => if changed.is_err() {
                    // The watch has ended with an error, which the caller gets from `follow`.
                    std::future::pending::<()>().await;
                },
                () = sleep_until(until) => {
                    let reason = if last.0.is_empty() { SILENT } else { &last.0 };
                    let delay = Box::new(Delay::new(planned, reason, &last.1));
                    return Err(Error::TimedOut { delay, seconds: waited.as_secs() });
                }
                () = sleep_until(mention) => {
                    mention = Instant::now() + PROGRESS_INTERVAL;
                    console.line(&mentioned(planned, &last.0, start.elapsed()));
                }
            }
        }
    }

    /// Waits until a container's init can be used. Its socket exists about a second before the API
    /// server knows that the container runs.
    #[instrument(skip_all, fields(
        otel.name = "wait for init",
        k8s.container.name = planned.name(),
        container.image.name = planned.image,
    ))]
    pub(super) async fn ready(
        &mut self,
        planned: &Planned,
        volume: &Volume,
        token: &Token,
        (until, waited): (Instant, Duration),
        console: &Console,
    ) -> Result<(Line, Welcome), Error> {
        let failed = async {
            match self.running(planned, until, waited, console).await {
                // It runs; wait for the socket while it does.
                Ok(_) => {
                    let gone = self.until(planned.name(), |progress| match progress {
                        Progress::Ended { exit_code, reason, message } => {
                            Some(ended(planned, exit_code, &reason, &message))
                        }
                        _ => None,
                    });
                    let patience = SILENCE_TIMEOUT.min(waited / 2);
                    let mute_at = until.min(Instant::now() + patience);
                    timeout_at(mute_at, gone).await.unwrap_or_else(|_| Error::Mute {
                        image: planned.image.clone(),
                        name: planned.name().to_owned(),
                        seconds: patience.as_secs(),
                    })
                }
                Err(error) => error,
            }
        };
        let (line, welcome) = tokio::select! {
            biased;
            line = connected(volume, planned.name(), token) => line.map_err(|source| Error::Socket {
                name: planned.name().to_owned(),
                source,
            })?,
            error = failed => return Err(error),
        };
        say_notes(console, planned, &welcome);
        Ok((line, welcome))
    }
}

/// Shows what init could not set up: which options are possible is known only in the container.
pub(super) fn say_notes(console: &Console, planned: &Planned, welcome: &Welcome) {
    for note in &welcome.notes {
        console.warning(&format!("{}: {}", planned.image, quote(note)));
    }
}

/// Connects as soon as the socket is ready.
async fn connected(
    volume: &Volume,
    container: &str,
    token: &Token,
) -> Result<(Line, Welcome), socket::Error> {
    let mut arrivals = arrivals(&volume.run());
    loop {
        match Line::open(volume, container, token).await {
            Err(error) if error.is_early() => {}
            settled => return settled,
        }
        match &mut arrivals {
            None => sleep(POLL_INTERVAL).await,
            Some(watched) => tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                ready = watched.readable_mut() => if let Ok(mut guard) = ready {
                    // Only the fact that there was an event counts, not its content.
                    rustix::io::read(guard.get_inner(), &mut [0; 4096]).ok();
                    guard.clear_ready();
                },
            },
        }
    }
}

/// Reports new entries in a directory.
fn arrivals(directory: &Path) -> Option<AsyncFd<OwnedFd>> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    // If no watch can be created, polling has to suffice.
    inotify::add_watch(&inotify, directory, WatchFlags::MOVED_TO | WatchFlags::CREATE).ok()?;
    watched(inotify)
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe code, because a descriptor may be closed meanwhile; the inotify instance owns this one"
)]
fn watched(inotify: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify).ok()
}

fn stuck(planned: &Planned, reason: &str, message: &str) -> Error {
    Error::Stuck { delay: Box::new(Delay::new(planned, reason, message)) }
}

pub(super) fn ended(planned: &Planned, code: i32, reason: &str, message: &str) -> Error {
    let reason = if reason.is_empty() { String::new() } else { format!(" ({})", quote(reason)) };
    Error::Ended {
        image: planned.image.clone(),
        name: planned.name().to_owned(),
        code,
        reason,
        message: after_colon(message),
    }
}

fn after_colon(message: &str) -> String {
    if message.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", quote_most(message, MESSAGE_CHARS_MAX))
    }
}

/// The remedy for an image that cannot be pulled.
fn hint(planned: &Planned, reason: &str, message: &str) -> String {
    let cause = pull::Cause::of(reason, message);
    let advice = |cause: pull::Cause| cause.advice(&planned.image, planned.registry.as_deref());
    cause.map(advice).unwrap_or_default()
}

/// The progress message.
fn mentioned(planned: &Planned, reason: &str, waited: Duration) -> String {
    let what = match reason {
        "" => "the kubelet pulls the image, or starts the container",
        reason => &format!("{}; the kubelet tries again", quote(reason)),
    };
    format!(
        "{} (container {}): {what} ({} s so far)",
        planned.image,
        planned.name(),
        waited.as_secs()
    )
}

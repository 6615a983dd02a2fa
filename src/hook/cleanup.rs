//! `cleanup_job`: shows the services' logs, and stops every container that can be stopped. Errors
//! here do not fail the job, because the runner's pod, with everything in it, ends soon.

use std::time::Duration;

use tokio::time::timeout;

use super::api::Api;
use super::call::Call;
use super::console::quote;
use super::pod_view::Progress;
use super::state::{Service, State};
use super::{fallback, leftovers, log, pulls, standby, stop};

/// Time limit for all calls to the API server together: after a cancellation the runner waits at
/// most 45 s for everything that remains (actions/runner, `JobDispatcher.cs`).
const API_TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit for a look at the pod before the containers are stopped.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of a service's log that are shown.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// Cleans up after a job. A job without state was never prepared, or its `prepare_job` was killed.
pub(super) async fn run(call: &Call<'_>, state: Option<&State>) {
    let Some(state) = state else {
        standby::drop_book(call.settings);
        return leftovers::end(call).await;
    };
    let failed = failed(call, &state.services).await;
    let services = state.services.iter().filter(|service| service.has_init || service.asks_init);
    let services = services.map(|service| service.container.as_str());
    let job = state.job.iter().filter(|job| !job.by_exec).map(|job| job.container.as_str());
    let own = services.chain(job).chain(state.network.as_deref());
    let stops = own.map(|container| stop::stop(call, &state.token.0, container));
    // The containers are stopped even if the API server does not respond in time, because the
    // runner does not wait longer.
    let asks = timeout(API_TIMEOUT, by_api(call, state, &failed));
    let stops = futures_util::future::join_all(stops);
    let standby = standby::end(call, &state.token.0);
    if futures_util::join!(stops, standby, asks).2.is_err() {
        call.console.warning(
            "cleanup is incomplete: the API server is slow; the rest is removed with the pod",
        );
    }
}

/// What needs the API server: the services' logs and Secrets, records of image pulls, and a job
/// container without init.
async fn by_api(call: &Call<'_>, state: &State, failed: &[String]) {
    if let Some(job) = state.job.as_ref().filter(|job| job.by_exec) {
        fallback::stop(call, &job.container).await;
    }
    match Api::new(call.settings).await {
        Ok(api) => {
            // Their own programs have it where init is missing.
            for service in state.services.iter().filter(|service| service.asks_init) {
                call.hide_key(&service.container, &state.token.0);
            }
            let services = services(call, &api, &state.services, failed);
            futures_util::join!(services, pulls::note(call, &api));
        }
        Err(error) if state.services.is_empty() => call.console.debug(&error.to_string()),
        Err(error) => {
            call.console.warning(&format!("cannot show the services' logs: {error}"));
        }
    }
}

async fn services(call: &Call<'_>, api: &Api, services: &[Service], failed: &[String]) {
    for service in services {
        show(call, api, service).await;
    }
    for text in failed {
        call.console.warning(text);
    }
    for secret in services.iter().filter_map(|service| service.secret.as_ref()) {
        if let Err(error) = api.delete_secret(secret).await {
            let left =
                format!("cannot delete Secret {secret}, which is removed with the pod: {error}");
            call.console.debug(&left);
        }
    }
}

/// The services that failed while the job ran, one sentence each: steps only saw refused connections.
/// Looked for before the hook itself ends services, whose exit codes would tell nothing then.
async fn failed(call: &Call<'_>, services: &[Service]) -> Vec<String> {
    if services.is_empty() {
        return Vec::new();
    }
    let look = async { Api::new(call.settings).await?.pod().await };
    let Ok(Ok(pod)) = timeout(LOOK_TIMEOUT, look).await else { return Vec::new() };
    let failed = services.iter().filter_map(|service| {
        match Progress::of(&pod, &service.container) {
            Progress::Ended { exit_code, reason, .. } if exit_code != 0 => Some(format!(
                "service {} ({}) ended before the job did, with exit code {exit_code} ({}); its log is above",
                service.container,
                service.image,
                quote(&reason)
            )),
            _ => None,
        }
    });
    failed.collect()
}

async fn show(call: &Call<'_>, api: &Api, service: &Service) {
    call.console.group(&format!("Log of service {} ({})", service.container, service.image));
    // The output of a service must not be interpreted as workflow commands.
    let word = format!("ephemon-{:016x}", fastrand::u64(..));
    call.console.line(&format!("::stop-commands::{word}"));
    match log::beginning(call, api, &service.container, LOG_BYTES_MAX).await {
        Ok(false) => {}
        Ok(true) => call.console.line("(truncated: only the first MiB of the log is shown)"),
        Err(error) => call.console.line(&format!("(cannot read the log: {error})")),
    }
    call.console.line(&format!("::{word}::"));
    call.console.end_group();
}

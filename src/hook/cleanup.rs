//! `cleanup_job`: the services' logs, and the end of every container that can be told to end.
//! Nothing here fails a job: the runner's pod ends soon, and everything in it.

use futures_util::AsyncReadExt;

use super::api::Api;
use super::call::Call;
use super::socket::Line;
use super::state::{Service, State};
use crate::contract::{Request, Stop};

/// From SIGTERM to SIGKILL for what still runs in a container.
const GRACE_MS: u32 = 2_000;
/// Most bytes of a service's log that are shown.
const MOST_LOG: usize = 1024 * 1024;

/// Cleans up after a job. A job that was never prepared has nothing to clean up.
pub(super) async fn run(call: &Call<'_>, state: Option<&State>) {
    let Some(state) = state else { return };
    if !state.services.is_empty() {
        match Api::new(call.settings).await {
            Ok(api) => {
                for service in &state.services {
                    show(call, &api, service).await;
                }
                for secret in state.services.iter().filter_map(|service| service.secret.as_ref()) {
                    if let Err(error) = api.delete_secret(secret).await {
                        let left =
                            format!("Secret {secret} is left to the end of the pod: {error}");
                        call.console.debug(&left);
                    }
                }
            }
            Err(error) => {
                call.console.warning(&format!("the services' logs cannot be shown: {error}"));
            }
        }
    }
    let services = state.services.iter().filter(|service| service.has_init);
    let services = services.map(|service| service.container.as_str());
    let job = state.job.iter().map(|job| job.container.as_str());
    let stops = services.chain(job).map(|container| stop(call, state, container));
    futures_util::future::join_all(stops).await;
}

async fn stop(call: &Call<'_>, state: &State, container: &str) {
    let path = call.settings.volume.socket(container);
    // One that does not answer is over already.
    let Ok((mut line, _)) = Line::open(&path, &state.token.0).await else { return };
    if let Err(error) = line.ask(&Request::Stop(Stop { grace_ms: GRACE_MS })).await {
        call.console
            .debug(&format!("container {container} is left to the end of the pod: {error}"));
    }
}

async fn show(call: &Call<'_>, api: &Api, service: &Service) {
    call.console.group(&format!("Log of service {} ({})", service.container, service.image));
    match api.log(&service.container, false).await {
        Ok(log) => {
            let mut log = std::pin::pin!(log);
            let mut buffer = vec![0; 64 * 1024];
            let mut left = MOST_LOG;
            while left > 0 {
                let Ok(count @ 1..) = log.read(&mut buffer).await else { break };
                let count = count.min(left);
                left -= count;
                if buffer.get(..count).is_some_and(|bytes| call.console.stdout(bytes).is_err()) {
                    break;
                }
            }
            if left == 0 {
                call.console.line("(the log goes on; this is its first MiB)");
            }
        }
        Err(error) => call.console.line(&format!("(it cannot be read: {error})")),
    }
    call.console.end_group();
}

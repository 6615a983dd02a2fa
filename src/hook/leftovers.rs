//! Removes containers that a killed `prepare_job` left: the runner has no state for it, so its
//! `cleanup_job` gets none. Meanwhile the token is kept in a file that only the runner's own
//! container can access, and that is removed as soon as the runner has the state.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use ephemon_contract::{HookKey, Token, env};
use tokio::time::{Instant, sleep};

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};

use super::api::Api;
use super::call::Call;
use super::names;
use super::settings::Settings;
use super::{fallback, stop};

/// Longest time between the marker of a started container and its socket; init creates one after
/// the other.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Stores the token until [`forget`]. If it cannot be stored, the containers of a killed call run
/// until the pod ends.
pub(super) fn keep(call: &Call<'_>, token: &Token) {
    let Some(path) = path(call.settings) else { return };
    let kept = fs::remove_file(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    let kept = kept.and_then(|()| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file?.write_all(token.expose().as_bytes())
    });
    if let Err(error) = kept {
        call.console.debug(&format!(
            "cannot save the job's token: {error}; if this call is killed, its containers run until the pod ends"
        ));
    }
}

/// Removes the token once the runner has the state, or the job has ended.
pub(super) fn forget(settings: &Settings) {
    // The file may not exist; and if it cannot be removed, no other user can read it.
    drop(path(settings).map(fs::remove_file));
}

/// Stops what a killed `prepare_job` left.
pub(super) async fn end(call: &Call<'_>) {
    let Some(token) = kept(call.settings) else { return };
    let left = match containers(call, &token).await {
        Ok(left) => left,
        Err(error) => {
            call.console
                .debug(&format!("cannot look for containers that an earlier call left: {error}"));
            return;
        }
    };
    for secret in left.secrets {
        if let Err(error) = left.api.delete_secret(&secret).await {
            call.console.debug(&format!(
                "cannot delete Secret {secret}, which is removed with the pod: {error}"
            ));
        }
    }
    let stops = left.containers.iter().map(|container| end_one(call, &token, container));
    futures_util::future::join_all(stops).await;
    for container in &left.kept {
        // Its shell creates no marker, but checks for one before anything else.
        mark(call, container);
        fallback::stop(call, container).await;
    }
    forget(call.settings);
}

/// Stops a container in any phase of its start. One that has not started finds the marker of a
/// container that ran, and exits at once. One that has started listens on its socket, or will soon.
async fn end_one(call: &Call<'_>, token: &Token, container: &str) {
    if mark(call, container) {
        return;
    }
    let until = Instant::now() + LISTEN_TIMEOUT;
    while !stop::stop(call, token, container).await && Instant::now() < until {
        sleep(RETRY_INTERVAL).await;
    }
}

/// Creates the marker of a container that ran; returns whether it did not exist before.
pub(super) fn mark(call: &Call<'_>, container: &str) -> bool {
    let mark = call.settings.volume.done(container);
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(mark).is_ok()
}

struct Left {
    api: Api,
    containers: Vec<String>,
    kept: Vec<String>,
    secrets: Vec<String>,
}

async fn containers(call: &Call<'_>, token: &Token) -> Result<Left, super::api::Error> {
    let api = Api::new(call.settings).await?;
    let pod = api.pod().await?;
    let ours = |container: &&EphemeralContainer| is_ours(container, call.settings);
    let all: Vec<&EphemeralContainer> = of(&pod).filter(ours).collect();
    let (mut containers, mut kept) = (Vec::new(), Vec::new());
    let key = token.hook_key();
    for container in &all {
        match value(container, env::HOOK_KEY).map(HookKey::parse) {
            Some(Ok(known)) if known == key => {
                containers.push(container.name.clone());
            }
            // A job container without init, kept running by a shell.
            None if value(container, env::ROLE) == Some("job") => kept.push(container.name.clone()),
            _ => {}
        }
    }
    // The hook's own Secrets are named after the pod and the container.
    let pod_uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let secrets = all.iter().flat_map(|container| {
        let sources = container.env_from.iter().flatten();
        sources
            .filter_map(|source| source.secret_ref.as_ref())
            .map(|secret| secret.name.clone())
            .filter(|name| names::is_secret_of(name, pod_uid, &container.name))
    });
    let secrets = secrets.collect();
    Ok(Left { api, containers, kept, secrets })
}

fn of(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten())
}

/// Whether the container belongs to this run and attempt.
fn is_ours(container: &EphemeralContainer, settings: &Settings) -> bool {
    [env::JOB_RUN_ID, env::JOB_RUN_ATTEMPT]
        .into_iter()
        .all(|name| value(container, name) == settings.identity_of(name))
        && value(container, env::ROLE).is_some()
}

fn value<'a>(container: &'a EphemeralContainer, name: &str) -> Option<&'a str> {
    let mut found = container.env.iter().flatten().filter(|variable| variable.name == name);
    found.next()?.value.as_deref()
}

/// Reads the token if the file belongs to this user.
fn kept(settings: &Settings) -> Option<Token> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path(settings)?)
        .ok()?;
    let uid = rustix::process::getuid().as_raw();
    file.metadata().ok().filter(|known| known.is_file() && known.uid() == uid)?;
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).ok()?;
    Token::parse(&text).ok()
}

/// A path in the runner's own `/tmp`, which no job container shares; `None` for a pod without a
/// name.
fn path(settings: &Settings) -> Option<PathBuf> {
    let pod = settings.pod.as_deref().filter(|pod| !pod.contains('/'))?;
    Some(std::env::temp_dir().join(format!(".ephemon-{pod}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_containers_of_this_attempt_are_ours() {
        let settings = Settings::from_env(|name| match name {
            "GITHUB_RUN_ID" => Some("7".to_owned()),
            "GITHUB_RUN_ATTEMPT" => Some("2".to_owned()),
            _ => None,
        });
        let container = |attempt: &str, role: &str| -> EphemeralContainer {
            let env = json!([
                {"name": "EPHEMON_JOB_RUN_ID", "value": "7"},
                {"name": "EPHEMON_JOB_RUN_ATTEMPT", "value": attempt},
                {"name": role, "value": "job"},
            ]);
            serde_json::from_value(json!({"name": "job", "env": env})).unwrap()
        };
        assert!(is_ours(&container("2", env::ROLE), &settings));
        assert!(!is_ours(&container("1", env::ROLE), &settings));
        assert!(!is_ours(&container("2", "OTHER"), &settings));
    }
}

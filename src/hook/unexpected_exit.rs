//! Explains why a container ended unexpectedly: its init cannot, but the kubelet can, once it has
//! updated the status.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::api::Api;
use super::call::{Call, Error};
use super::console::quote;
use super::pod_view::Progress;
use super::step;

/// The kubelet checks once a second and then updates the API server. On a node that just ran out of
/// memory both take longer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between checks.
const STATUS_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Replaces an error that only says that init does not answer by the kubelet's reason.
pub(super) async fn explained<T>(
    call: &Call<'_>,
    container: &str,
    result: Result<T, Error>,
) -> Result<T, Error> {
    match result {
        Err(error) if is_gone(&error) => {
            Err(ask(call, container).await.unwrap_or_else(|| named(container, error)))
        }
        other => other,
    }
}

fn is_gone(error: &Error) -> bool {
    match error {
        Error::JobGone { source, .. }
        | Error::Container { source, .. }
        | Error::Step(step::Error::Socket(source)) => source.is_early(),
        _ => false,
    }
}

fn named(container: &str, error: Error) -> Error {
    match error {
        Error::Step(step::Error::Socket(source)) => {
            Error::Container { name: container.to_owned(), source }
        }
        other => other,
    }
}

/// How the container ended, if the kubelet reports it in time.
async fn ask(call: &Call<'_>, container: &str) -> Option<Error> {
    let until = Instant::now() + STATUS_TIMEOUT;
    let asking = async {
        let api = Api::new(call.settings).await.ok()?;
        loop {
            if let Progress::Ended { exit_code, reason, .. } =
                Progress::of(&api.pod().await.ok()?, container)
            {
                return Some(ended(container, exit_code, &reason));
            }
            sleep(STATUS_POLL_INTERVAL).await;
        }
    };
    timeout_at(until, asking).await.ok()?
}

fn ended(container: &str, code: i32, reason: &str) -> Error {
    let why = match reason {
        "OOMKilled" => {
            ": it ran out of memory and was killed; raise its memory limit or reduce its use"
                .to_owned()
        }
        "" => String::new(),
        reason => format!(" ({})", quote(reason)),
    };
    Error::UnexpectedExit { name: container.to_owned(), code, why }
}

/// The exit code of a call whose container ended with this one: never a success.
pub(super) fn passed(code: i32) -> u8 {
    u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::super::socket;
    use super::*;

    fn closed() -> Error {
        step::Error::Socket(socket::Error::Closed).into()
    }

    #[test]
    fn only_silence_is_explained() {
        assert!(is_gone(&closed()));
        assert!(!is_gone(&Error::NotPrepared));
        assert!(!is_gone(&step::Error::Socket(socket::Error::Unexpected).into()));
        let named = named("job", closed()).to_string();
        assert!(named.starts_with("container job: "), "{named}");
    }

    #[test]
    fn a_container_without_memory_is_said_to_be_one_and_keeps_its_code() {
        let error = ended("job", 137, "OOMKilled").to_string();
        assert!(error.contains("container job") && error.contains("out of memory"), "{error}");
        let error = ended("job", 2, "Error\n::add-mask::").to_string();
        assert!(error.contains("exit code 2 (Error ::add-mask::)"), "{error}");
        assert_eq!([0, 1, 137, 256, -1].map(passed), [1, 1, 137, 1, 1]);
    }
}

//! Clients of all kinds.

use std::ops::RangeBounds;
use std::time::Instant;

use ephemon_capture::readings::Readings;
use ephemon_metrics::Metrics;
use ephemon_self_metrics::SelfMetrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::server::CLIENTS_MAX;
use super::*;
use crate::state::StateReader;

fn answers() -> Answers {
    let state = StateReader::of_nothing();
    let (readings, inventory) = (Readings::default(), state.inventory.clone());
    let (log_level, options) = (state.log_level.clone(), ephemon_metrics::Options::default());
    let metrics = Metrics::new(readings, inventory, SelfMetrics::new().unwrap(), options);
    Answers { state, metrics, log_level }
}

/// Asks again where the conversation took so long that it was broken off, on a busy machine.
async fn asked(
    state_dir: &Path,
    request: &Request,
    took: impl RangeBounds<Duration>,
) -> Result<(Value, String), Error> {
    let start = Instant::now();
    loop {
        let began = Instant::now();
        let answer = ask(state_dir, request).await;
        let is_late =
            matches!(answer, Err(Error::Silent { .. })) && took.contains(&began.elapsed());
        if !is_late || start.elapsed() > Duration::from_mins(2) {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_client_is_answered_and_a_wrong_request_refused() {
    let directory = tempfile::tempdir().unwrap();
    let missing = ask(directory.path(), &Request::State).await.unwrap_err().to_string();
    assert!(missing.contains("agent.sock") && missing.contains("--state-dir"), "{missing}");
    // The socket of an agent that has ended is in the way of none.
    drop(UnixListener::bind(socket(directory.path())).unwrap());
    let control = Control::bind(directory.path(), answers()).unwrap();
    tokio::spawn(control.serve());
    let ask = async |request| asked(directory.path(), &request, CONVERSATION_TIMEOUT..).await;
    let (state, _) = ask(Request::State).await.unwrap();
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(state["log"]["filter"], "info");
    let (_, metrics) = ask(Request::Metrics).await.unwrap();
    assert!(metrics.contains("ephemon_agent_"));
    let log = |filter: &str| Request::Log { filter: filter.into(), seconds: 3600 };
    ask(log("debug")).await.unwrap();
    let (state, _) = ask(Request::State).await.unwrap();
    assert_eq!(state["log"]["filter"], "debug");
    let refused = ask(log("a=b=c")).await.unwrap_err().to_string();
    assert!(refused.contains("a=b=c"), "{refused}");
    let mut stream = UnixStream::connect(socket(directory.path())).await.unwrap();
    stream.write_all(&[b'x'; 8192]).await.ok();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    assert!(answer.is_empty() || answer.contains("not a request"), "{answer}");
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_keep_others_out_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::bind(directory.path(), answers()).unwrap();
    let limit = Duration::from_millis(10);
    control.patience = limit;
    tokio::spawn(control.serve());
    let mut silent = Vec::new();
    for _ in 0..2 * CLIENTS_MAX {
        silent.push(UnixStream::connect(socket(directory.path())).await.unwrap());
    }
    // By the agent, which has less patience than the client.
    let broken_off = limit..CONVERSATION_TIMEOUT;
    let (state, _) = asked(directory.path(), &Request::State, broken_off).await.unwrap();
    assert!(state.is_object());
}

//! `pods/log`: a container's output from its CRI log file, whole or as it grows.
//!
//! Source: kubernetes v1.36.2, `staging/src/k8s.io/cri-client/pkg/logs/logs.go` (`ReadLogs`): after
//! the end of the file a follower looks every second whether the container still runs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, sleep};

use super::object::{items, text};
use super::query::Query;
use super::runtime::Runtime;
use super::status::Refusal;
use super::store::Key;

/// Pause between looks at a file that may grow; stands for the real one's inotify.
const LOOK: Duration = Duration::from_millis(5);
/// How often a follower asks whether the container still runs.
const ASK: Duration = Duration::from_secs(1);
/// Most bytes sent in one piece.
const PIECE: usize = 64 * 1024;

/// One reader of one log.
struct Reader {
    file: BufReader<File>,
    record: Vec<u8>,
    follow: bool,
    timestamps: bool,
    runtime: Arc<dyn Runtime>,
    pod: Key,
    container: String,
    over: bool,
    asked: Instant,
}

/// The log's bytes, or why there are none.
pub(super) async fn open(
    pod: &Value,
    key: &Key,
    query: &Query,
    runtime: Option<Arc<dyn Runtime>>,
) -> Result<impl Stream<Item = io::Result<Frame<Bytes>>> + Send + use<>, Refusal> {
    let container = container(pod, key, query)?;
    let log = runtime.as_ref().and_then(|runtime| runtime.log(key, &container));
    let (Some(runtime), Some(path)) = (runtime, log) else {
        return Err(waiting(pod, key, &container));
    };
    let file = File::open(&path).await.map_err(|e| gone(&path, &e))?;
    let reader = Reader {
        file: BufReader::with_capacity(PIECE, file),
        record: Vec::new(),
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        runtime,
        pod: key.clone(),
        container,
        over: false,
        asked: Instant::now(),
    };
    Ok(stream::try_unfold(reader, |mut reader| async {
        let piece = reader.next().await?;
        Ok((!piece.is_empty()).then(|| (Frame::data(Bytes::from(piece)), reader)))
    }))
}

/// The container asked for; without a name, the only one there is.
pub(super) fn container(pod: &Value, key: &Key, query: &Query) -> Result<String, Refusal> {
    let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
    let mut names = lists.iter().flat_map(|list| items(pod, list)).filter_map(|c| text(c, "/name"));
    match query.get("container") {
        Some(asked) if names.any(|name| name == asked) => Ok(asked.to_owned()),
        Some(asked) => {
            Err(Refusal::bad_request(format!("container {asked} is not valid for pod {}", key.1)))
        }
        None => {
            let all: Vec<_> = names.collect();
            match all.as_slice() {
                [only] => Ok((*only).to_owned()),
                several => Err(Refusal::bad_request(format!(
                    "a container name must be specified for pod {}, choose one of: [{}]",
                    key.1,
                    several.join(" ")
                ))),
            }
        }
    }
}

fn waiting(pod: &Value, key: &Key, container: &str) -> Refusal {
    let lists = ["/status/containerStatuses", "/status/ephemeralContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| items(pod, list));
    let status = statuses.find(|status| text(status, "/name") == Some(container));
    let reason = status.and_then(|status| text(status, "/state/waiting/reason"));
    let reason = reason.unwrap_or("ContainerCreating");
    Refusal::bad_request(match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: trying and failing to pull image",
            key.1
        ),
        reason => {
            format!("container \"{container}\" in pod \"{}\" is waiting to start: {reason}", key.1)
        }
    })
}

fn gone(path: &Path, error: &io::Error) -> Refusal {
    let message = format!("failed to open log file \"{}\": {error}", path.display());
    Refusal::new(500, "InternalError", message)
}

// === impl Reader ===

impl Reader {
    /// Some of the log; empty at its end.
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        loop {
            let read = self.file.read_until(b'\n', &mut self.record).await?;
            if self.record.ends_with(b"\n") {
                text_of(&self.record, self.timestamps, &mut piece);
                self.record.clear();
                if piece.len() < PIECE && !self.file.buffer().is_empty() {
                    continue;
                }
            }
            if !piece.is_empty() || (read == 0 && !self.wait().await) {
                return Ok(piece);
            }
        }
    }

    /// Waits for more; false when there will be none.
    async fn wait(&mut self) -> bool {
        if !self.follow || self.over {
            return false;
        }
        if self.asked.elapsed() >= ASK {
            self.asked = Instant::now();
            // One more look at the file after the end: what came between is not lost.
            self.over = !self.runtime.is_running(&self.pod, &self.container);
            return true;
        }
        sleep(LOOK).await;
        true
    }
}

/// Appends a record's text: `TIME STREAM TAG TEXT`; a part of a line has no newline.
fn text_of(record: &[u8], timestamps: bool, out: &mut Vec<u8>) {
    let mut parts = record.splitn(4, |byte| *byte == b' ');
    let (Some(time), Some(_), Some(tag), Some(text)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    if timestamps {
        out.extend_from_slice(time);
        out.push(b' ');
    }
    let partial = tag.starts_with(b"P");
    out.extend_from_slice(if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_what_was_written() {
        let mut out = Vec::new();
        for record in ["t1 stdout P half\n", "t2 stdout F  done\n", "t3 stderr F \n", "nonsense\n"]
        {
            text_of(record.as_bytes(), false, &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), "half done\n\n");
        let mut out = Vec::new();
        text_of(b"t1 stdout F a\n", true, &mut out);
        assert_eq!(out, b"t1 a\n");
    }
}

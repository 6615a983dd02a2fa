//! `pods/log`: a container's output from its CRI log file, whole or as it grows.
//!
//! Source: kubernetes v1.36.2, `staging/src/k8s.io/cri-client/pkg/logs/logs.go` (`ReadLogs`): after
//! the end of the file a follower looks every second whether the container still runs.
//! `pkg/apis/core/validation/validation.go` (`ValidatePodLogOptions`), `pkg/kubelet/kubelet_pods.go`
//! (`validateContainerLogStatus`): what is refused.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, BufReader};
use tokio::time::{Instant, sleep};

use super::containers::{self, Kind};
use super::object::text;
use super::query::Query;
use super::runtime::Runtime;
use super::status::{FieldError, Refusal};
use super::store::Key;

/// Interval of checks of a growing file; a real kubelet uses inotify.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How often a follower checks whether the container still runs.
const ASK: Duration = Duration::from_secs(1);
/// Most bytes that are sent in one piece.
const PIECE: usize = 64 * 1024;

/// One reader of one log.
struct Reader {
    file: BufReader<File>,
    record: Vec<u8>,
    follow: bool,
    timestamps: bool,
    /// Number of bytes that may still be sent.
    left: Option<u64>,
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
    if query.flag("previous") {
        // Containers are not restarted here.
        return Err(Refusal::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{}\" not found",
            key.1
        )));
    }
    let log = runtime.as_ref().and_then(|runtime| runtime.log(key, &container));
    let (Some(runtime), Some(path)) = (runtime, log) else {
        return Err(waiting(pod, key, &container));
    };
    let mut file = File::open(&path).await.map_err(|e| gone(&path, &e))?;
    if let Some(lines) = number(query, "tailLines") {
        let begin = begin_of_tail(&path, lines).await.map_err(|e| gone(&path, &e))?;
        file.seek(SeekFrom::Start(begin)).await.map_err(|e| gone(&path, &e))?;
    }
    let reader = Reader {
        left: number(query, "limitBytes"),
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

/// Rejects parameters that are not valid, alone or together.
pub(super) fn check(pod: &str, query: &Query) -> Result<(), Refusal> {
    let at_least = |key: &str, least: i64, why: &str| {
        let value = query.get(key)?.parse::<i64>().ok().filter(|value| *value < least)?;
        let message = format!("Invalid value: {value}: {why}");
        Some(FieldError { message, ..FieldError::invalid(key, "", "") })
    };
    let since = if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        Some(FieldError::forbidden("[]", why))
    } else {
        at_least("sinceSeconds", 1, "must be greater than 0")
    };
    let tail = at_least("tailLines", 0, "must be greater than or equal to 0");
    let limit = at_least("limitBytes", 1, "must be greater than 0");
    let errors: Vec<_> = [tail, limit, since].into_iter().flatten().collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid_kind("PodLogOptions", pod, &errors))
    }
}

fn number(query: &Query, key: &str) -> Option<u64> {
    query.get(key)?.parse().ok()
}

/// The position of the last `lines` records of a file.
async fn begin_of_tail(path: &Path, lines: u64) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(PIECE, File::open(path).await?);
    // Positions of the last records, oldest first.
    let mut begins = VecDeque::new();
    let mut record = Vec::new();
    let mut at = 0_u64;
    loop {
        record.clear();
        let read = file.read_until(b'\n', &mut record).await?;
        if read == 0 {
            return Ok(begins.pop_front().unwrap_or(at));
        }
        begins.push_back(at);
        at = at.saturating_add(u64::try_from(read).unwrap_or(0));
        while u64::try_from(begins.len()).unwrap_or(u64::MAX) > lines {
            begins.pop_front();
        }
    }
}

/// The requested container; without a name, the only one in the pod's `containers`.
///
/// Source: kubernetes v1.36.3, `pkg/registry/core/pod/strategy.go`.
pub(super) fn container(pod: &Value, key: &Key, query: &Query) -> Result<String, Refusal> {
    let mut names = containers::all(pod).filter_map(|c| text(c, "/name"));
    if let Some(asked) = query.get("container") {
        return if names.any(|name| name == asked) {
            Ok(asked.to_owned())
        } else {
            Err(Refusal::bad_request(format!("container {asked} is not valid for pod {}", key.1)))
        };
    }
    let mut regular = containers::of_kind(pod, Kind::Regular).filter_map(|c| text(c, "/name"));
    if let (Some(only), None) = (regular.next(), regular.next()) {
        return Ok(only.to_owned());
    }
    let all: Vec<_> = names.collect();
    Err(Refusal::bad_request(format!(
        "a container name must be specified for pod {}, choose one of: [{}]",
        key.1,
        all.join(" ")
    )))
}

fn waiting(pod: &Value, key: &Key, container: &str) -> Refusal {
    let reason =
        containers::status(pod, container).and_then(|status| text(status, "/state/waiting/reason"));
    let reason = reason.unwrap_or("ContainerCreating");
    let reason = match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    Refusal::bad_request(format!(
        "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
        key.1
    ))
}

fn gone(path: &Path, error: &io::Error) -> Refusal {
    let message = format!("failed to open log file \"{}\": {error}", path.display());
    Refusal::new(500, "InternalError", message)
}

// === impl Reader ===

impl Reader {
    /// The next piece of the log; empty at its end.
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = self.piece().await?;
        if let Some(left) = self.left {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.left = Some(left.saturating_sub(u64::try_from(piece.len()).unwrap_or(left)));
        }
        Ok(piece)
    }

    async fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        if self.left == Some(0) {
            return Ok(piece);
        }
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

    /// Waits for more; `false` if there will be none.
    async fn wait(&mut self) -> bool {
        if !self.follow || self.over {
            return false;
        }
        if self.asked.elapsed() >= ASK {
            self.asked = Instant::now();
            // Reads the file once more after the end, so that nothing in between is lost.
            self.over = !self.runtime.is_running(&self.pod, &self.container);
            return true;
        }
        sleep(POLL_INTERVAL).await;
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

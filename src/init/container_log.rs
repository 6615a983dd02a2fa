//! Init's own standard output and error, which are the container's log. They are written by a
//! separate thread, so that a log that is not read delays a step only briefly; after that, bytes
//! are dropped and counted.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use ephemon_base::{lock, wait};

use super::tee::Stream;

/// Most bytes that are queued.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// A writer that makes no progress for this long counts as blocked: output is dropped until it
/// continues.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// The log. Cheap to clone; all clones write to the same log.
#[derive(Debug, Clone)]
pub(super) struct ContainerLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// from writers --data is queued--> to the thread
    filled: Condvar,
    /// from the thread --data was written--> to writers
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Stream, Vec<u8>)>,
    waiting_bytes: usize,
    /// The thread has removed a piece from the queue and not written it yet.
    writing: bool,
    stalled: bool,
    dropped_bytes: u64,
}

// === impl ContainerLog ===

impl ContainerLog {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let log = Self(Arc::default());
        let thread_log = log.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(super::STACK_BYTES)
            .spawn(move || thread_log.write_forever())?;
        Ok(log)
    }

    /// Queues bytes; while the queue is full, waits at most [`STALL_TIMEOUT`].
    pub(super) fn write(&self, stream: Stream, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        let deadline = Instant::now() + STALL_TIMEOUT;
        while state.waiting_bytes >= MAX_WAITING_BYTES && !state.stalled {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.stalled = true;
                break;
            }
            state = match self.0.drained.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        if state.stalled {
            state.dropped_bytes = state.dropped_bytes.saturating_add(bytes.len() as u64);
            return;
        }
        state.waiting_bytes += bytes.len();
        state.waiting.push_back((stream, bytes));
        drop(state);
        self.0.filled.notify_one();
    }

    /// Writes a line of init's own to standard error.
    pub(super) fn note(&self, text: &str) {
        self.write(Stream::Err, format!("[ephemon-init] {text}\n").into_bytes());
    }

    /// Number of bytes that were dropped.
    pub(super) fn dropped_bytes(&self) -> u64 {
        self.lock().dropped_bytes
    }

    /// Waits until everything is written, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = match self.0.drained.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    fn write_forever(&self) {
        let mut reported = 0;
        loop {
            let mut state = self.lock();
            let (stream, mut bytes) = loop {
                if let Some(piece) = state.waiting.pop_front() {
                    break piece;
                }
                state = wait(&self.0.filled, state);
            };
            state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes.len());
            state.writing = true;
            if state.dropped_bytes > reported {
                let lost = state.dropped_bytes - reported;
                reported = state.dropped_bytes;
                let note = format!(
                    "[ephemon-init] {lost} bytes of output are missing before this line: the \
                     reader of this log did not keep up\n"
                );
                bytes.splice(0..0, note.into_bytes());
            }
            drop(state);
            let length = bytes.len() as u64;
            let written = match stream {
                Stream::Out => write_and_flush(&mut std::io::stdout().lock(), &bytes),
                Stream::Err => write_and_flush(&mut std::io::stderr().lock(), &bytes),
            };
            let mut state = self.lock();
            if written.is_err() {
                // The log is closed at the other end: the output goes only to the hook.
                state.dropped_bytes = state.dropped_bytes.saturating_add(length);
                reported = state.dropped_bytes;
            }
            state.writing = false;
            state.stalled = false;
            drop(state);
            self.0.drained.notify_all();
        }
    }
}

fn write_and_flush(to: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

//! Up to where each counter was sent as a delta: kept on disk, so that no window is sent by two agents,
//! and moved back where nobody took the points, so that none is lost.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use ephemon_base::warning::Outage;
use ephemon_export::{Outbox, Payload};
use ephemon_otel::config::Temporality;
use ephemon_otlp::metric::{Batch, Requests, Windows};

/// The file's name.
const NAME: &str = "otlp-windows.json";
/// A file of ours is smaller: some 10 KB for each container.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How the file is laid out: this number and the windows; another number is another agent's.
const VERSION: u32 = 1;

/// The windows of an agent. Cumulative points have none, and no file.
#[derive(Debug)]
pub(super) struct WindowStore {
    temporality: Temporality,
    windows: Windows,
    path: PathBuf,
    unsaved: Outage,
}

// === impl WindowStore ===

impl WindowStore {
    /// Goes on from what an earlier agent left in the state directory. Where that left nothing, what
    /// had begun before this agent is sent from now on: nobody knows what of it was sent before.
    pub(super) fn open(temporality: Temporality, state: &Path, now_ns: u64) -> Self {
        let path = state.join(NAME);
        let windows = if temporality == Temporality::Cumulative {
            // An agent that is asked for deltas again must not go on from here.
            fs::remove_file(&path).ok();
            Windows::default()
        } else {
            match read(&path) {
                Ok(windows) => windows.recalled(),
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::warn!(
                            "cannot read {}: {error}; deltas of what runs already begin now",
                            path.display()
                        );
                    }
                    Windows::beginning(now_ns)
                }
            }
        };
        Self { temporality, windows, path, unsaved: Outage::default() }
    }

    /// Requests of this temporality.
    pub(super) fn requests(&self) -> Requests<'_> {
        Requests::new(self.temporality, &self.windows)
    }

    /// Sends what was made of [`Self::requests`]: deltas by way of the spool, for each is missed,
    /// others as it is said.
    pub(super) fn send(
        &mut self,
        batches: Vec<Batch>,
        outbox: &Outbox,
        others: fn(&Outbox, Payload) -> bool,
    ) {
        let mut deltas = Vec::new();
        for Batch { payload, staged } in batches {
            if staged.is_empty() {
                payload.map(|payload| others(outbox, payload));
            } else {
                deltas.push((payload, self.windows.commit(staged)));
            }
        }
        if deltas.is_empty() {
            return;
        }
        // Written down before: a window that is sent twice counts twice for ever.
        self.save();
        let mut refused = false;
        for (payload, undo) in deltas {
            if payload.is_some_and(|payload| !outbox.post(payload)) {
                self.windows.revert(undo);
                refused = true;
            }
        }
        if refused {
            self.save();
        }
    }

    /// Forgets all series but those of these owners.
    pub(super) fn retain(&mut self, owners: &HashSet<&str>) {
        self.windows.retain(|owner| owners.contains(owner));
    }

    fn save(&mut self) {
        match write(&self.path, &self.windows) {
            Ok(()) => drop(self.unsaved.end()),
            Err(error) => {
                if self.unsaved.begins() {
                    let path = self.path.display();
                    tracing::warn!(
                        "cannot save which deltas were sent to {path}: {error}; after a restart the \
                         deltas of what runs then begin anew"
                    );
                }
                // A file that is behind would have windows sent twice.
                fs::remove_file(&self.path).ok();
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Windows> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    let (version, windows): (u32, Windows) = serde_json::from_slice(&text)?;
    if version == VERSION {
        Ok(windows)
    } else {
        Err(io::Error::other(format!("it is of version {version}, not {VERSION}")))
    }
}

/// Whole or not at all.
fn write(path: &Path, windows: &Windows) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("json.new");
    let mut file = BufWriter::new(File::create(&new)?);
    serde_json::to_writer(&mut file, &(VERSION, windows))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(state: &Path) -> WindowStore {
        WindowStore::open(Temporality::Delta, state, 80)
    }

    #[test]
    fn what_an_agent_left_is_gone_on_from_and_what_is_spoilt_is_not_guessed_from() {
        let state = tempfile::tempdir().unwrap();
        let beginning = Windows::beginning(80);
        assert_eq!(open(state.path()).windows, beginning, "nobody was before");
        let mut store = open(state.path());
        store.save();
        assert_eq!(open(state.path()).windows, Windows::default(), "all that was sent is known");
        let path = state.path().join(NAME);
        for spoilt in ["", "[2,{\"since_ns\":0,\"owners\":{}}]", "[1,{}]"] {
            fs::write(&path, spoilt).unwrap();
            assert_eq!(open(state.path()).windows, beginning, "{spoilt}");
        }
        store.save();
        drop(WindowStore::open(Temporality::Cumulative, state.path(), 80));
        assert_eq!(open(state.path()).windows, beginning, "cumulative points came between");
    }
}

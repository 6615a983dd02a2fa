//! The API server's requests to this kubelet: the path of a log, whether a container runs, a
//! process in it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use ephemon_base::lock;

use super::{Shared, spec};
use crate::api::store::Key;
use crate::api::{Runtime, containers};
use crate::helper;
use crate::shim::stage::NO_VIEW;

/// Containers by pod and name, as known to the runtime.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<BTreeMap<(Key, String), Known>>);

/// One container.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) log: Option<PathBuf>,
    pub(super) view: Option<PathBuf>,
    pub(super) pid: Option<i32>,
    pub(super) entrances: Vec<PathBuf>,
    pub(super) over: bool,
}

// === impl Running ===

impl Running {
    pub(super) fn enter(&self, pod: &Key, container: &str, known: Known) {
        self.lock().insert((pod.clone(), container.to_owned()), known);
    }

    /// The pod was removed.
    pub(super) fn forget(&self, pod: &Key) {
        self.lock().retain(|(of, _), _| of != pod);
    }

    fn get(&self, pod: &Key, container: &str) -> Option<Known> {
        self.lock().get(&(pod.clone(), container.to_owned())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Key, String), Known>> {
        lock(&self.0)
    }
}

// === impl Shared ===

impl Runtime for Shared {
    fn log(&self, pod: &Key, container: &str) -> Option<PathBuf> {
        self.running.get(pod, container)?.log
    }

    fn is_running(&self, pod: &Key, container: &str) -> bool {
        self.running.get(pod, container).is_some_and(|known| known.pid.is_some() && !known.over)
    }

    fn exec(&self, pod: &Key, container: &str, command: &[String]) -> io::Result<Command> {
        let missing = || io::Error::other(format!("container {container} does not run"));
        let known = self.running.get(pod, container).filter(|known| !known.over);
        let known = known.ok_or_else(missing)?;
        let pid = known.pid.ok_or_else(missing)?;
        let object = self.store.get(pod).map_err(|refusal| io::Error::other(refusal.message))?;
        let spec = containers::spec(&object, container).ok_or_else(missing)?;
        let mut process = Command::new(&self.settings.binary);
        process
            .args([helper::NAME, "join"])
            .arg(known.view.unwrap_or_else(|| NO_VIEW.into()))
            .arg(pid.to_string())
            .args(known.entrances)
            .arg("--")
            .args(command)
            .env_clear()
            .envs(spec::environment(&pod.1, spec));
        Ok(process)
    }
}

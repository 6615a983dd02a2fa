//! What the API server asks a kubelet for itself: logs, and processes in containers.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use ephemon::demo::api::Runtime;

use super::super::cri::Cri;
use super::super::cri_wire::CONTAINER_RUNNING;
use super::super::node::PodPlace;
use super::super::parts;
use super::{Desk, Key};

impl Runtime for Desk {
    fn log(&self, pod: &Key, container: &str) -> Option<PathBuf> {
        self.id(pod, container)?;
        let object = self.store.get(pod).ok()?;
        let uid = object.pointer("/metadata/uid")?.as_str()?.to_owned();
        let place = PodPlace { namespace: pod.0.clone(), name: pod.1.clone(), uid };
        Some(self.node.pod_logs(&place).join(container).join("0.log"))
    }

    fn is_running(&self, pod: &Key, container: &str) -> bool {
        let Some(id) = self.id(pod, container) else { return false };
        // A thread of its own: the caller is in the midst of another runtime.
        let asked = thread::scope(|scope| {
            scope.spawn(|| Cri::new(&self.socket).container_status(&id)).join()
        });
        asked.is_ok_and(|status| status.is_ok_and(|status| status.state == CONTAINER_RUNNING))
    }

    fn exec(&self, pod: &Key, container: &str, command: &[String]) -> io::Result<Command> {
        let id = self.id(pod, container).ok_or(io::ErrorKind::NotFound)?;
        let mut process = Command::new(parts::program("ctr").ok_or(io::ErrorKind::NotFound)?);
        process
            .arg("--address")
            .arg(&self.socket)
            .args(["-n", "k8s.io", "tasks", "exec", "--exec-id"])
            .arg(format!("exec-{:016x}", fastrand::u64(..)))
            .arg(id)
            .args(command);
        Ok(process)
    }
}

impl Desk {
    fn id(&self, pod: &Key, container: &str) -> Option<String> {
        self.ids.lock().unwrap().get(&(pod.clone(), container.to_owned())).cloned()
    }
}

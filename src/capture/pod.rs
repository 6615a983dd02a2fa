//! One pod while its cgroup exists: its own counters, its accounting, its network.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ephemon_cgroup::{Files, Hierarchy};
use ephemon_model::{NetUsage, PodUid, Usage};
use procfs::FromBufRead as _;
use procfs::net::InterfaceDeviceStatus;

use super::additive::Additive;
use super::beside::Beside;
use super::ledger::Ledger;
use super::readings::PodRecord;

/// More than `/proc/PID/net/dev` has for several hundred interfaces.
const NET_DEV_BYTES: usize = 64 * 1024;

/// A pod's cgroup and what is stored for it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uid: PodUid,
    pub(crate) ledger: Ledger,
    /// Of its cgroup, below the hierarchy's root.
    pub(crate) path: PathBuf,
    files: Files,
    usage: Usage,
    /// The open file of its network namespace, which keeps that alive until the pod's end. None where no
    /// process of it was seen that may be inspected and uses another network than the node's.
    network: Option<File>,
    accounting_error: Option<f64>,
    pub(crate) beside: Beside,
    /// There was no room for a container of it.
    pub(crate) has_refused: bool,
    /// Nested containers for which there was no place.
    nested_left_out: u64,
}

// === impl Pod ===

impl Pod {
    /// A pod seen at its creation, or found running.
    pub(crate) fn new(uid: PodUid, path: &Path, hierarchy: &Hierarchy, from_birth: bool) -> Self {
        Self {
            uid,
            ledger: if from_birth { Ledger::from_birth() } else { Ledger::from_now() },
            path: path.to_owned(),
            files: Files::open(hierarchy, path),
            usage: Usage::default(),
            network: None,
            accounting_error: None,
            beside: Beside::default(),
            has_refused: false,
            nested_left_out: 0,
        }
    }

    /// Whether a process is in the pod's own group, beside those of its containers.
    pub(crate) fn has_processes(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.files.reopen();
        self.files.populated(buffer).unwrap_or_default().unwrap_or_default()
    }

    /// Reads the pod's own counters. `None`: its cgroup was removed.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>) -> Option<Additive> {
        self.files.reopen();
        self.files.read(&mut self.usage, buffer).ok()?;
        Some(Additive::of(&self.usage))
    }

    /// Reads only the pod's own CPU counter.
    pub(crate) fn read_cpu_ns(&mut self, buffer: &mut Vec<u8>) -> Option<u64> {
        let read = self.files.read_cpu(&mut self.usage, buffer).ok()?;
        self.usage.cpu.usage_ns.filter(|_| read)
    }

    /// Balances the CPU time and returns the record to report.
    pub(crate) fn balance(&mut self, own_ns: u64, living_ns: u64) -> PodRecord {
        let (beside_ns, missed_ns) = (self.beside.since_opened_ns(), self.beside.missed_ns());
        let error = self.ledger.error_ratio(own_ns, living_ns, beside_ns, missed_ns);
        self.accounting_error = error.filter(|_| !self.beside.is_unknown);
        self.record(false)
    }

    /// The record to report.
    pub(crate) fn record(&self, gone: bool) -> PodRecord {
        PodRecord {
            pod: self.uid.clone(),
            net: self.net(),
            accounting_error: self.accounting_error,
            beside_cpu_ns: self.beside.is_used.then(|| self.beside.cpu_ns()),
            nested_left_out: self.nested_left_out,
            gone,
        }
    }

    /// So many nested containers of it have no place.
    pub(crate) fn leave_out(&mut self, count: u64) {
        if self.nested_left_out == 0 {
            tracing::warn!(
                pod = %self.uid,
                "the pod has more containers in containers than are captured at once; further ones have no \
                 metrics of their own and are counted in ephemon_pod_nested_containers_left_out_total"
            );
        }
        self.nested_left_out = self.nested_left_out.saturating_add(count);
    }

    /// Opens the network file of a process of the sandbox, unless it uses the node's network. That may be
    /// for a moment only: the runtime's process is in the sandbox's cgroup before it enters the pod's
    /// namespaces. So it is tried again with each further container.
    pub(crate) fn adopt_network(&mut self, pid: u32, proc: &Path) {
        if self.network.is_some() {
            return;
        }
        let namespace = |pid: &str| fs::read_link(proc.join(pid).join("ns/net")).ok();
        let (Some(pods), Some(nodes)) = (namespace(&pid.to_string()), namespace("1")) else {
            return;
        };
        if pods != nodes {
            self.network = File::open(proc.join(pid.to_string()).join("net/dev")).ok();
        }
    }

    fn net(&self) -> Vec<NetUsage> {
        let Some(file) = &self.network else {
            return Vec::new();
        };
        let mut text = vec![0; NET_DEV_BYTES];
        let Ok(read) = file.read_at(&mut text, 0) else {
            return Vec::new();
        };
        text.truncate(read);
        interfaces(&text)
    }
}

fn interfaces(text: &[u8]) -> Vec<NetUsage> {
    let Ok(InterfaceDeviceStatus(devices)) = InterfaceDeviceStatus::from_buf_read(text) else {
        return Vec::new();
    };
    let mut interfaces: Vec<_> = devices
        .into_values()
        .filter(|device| device.name != "lo")
        .map(|device| NetUsage {
            interface: device.name,
            receive_bytes: device.recv_bytes,
            receive_packets: device.recv_packets,
            receive_errors: device.recv_errs,
            receive_dropped: device.recv_drop,
            transmit_bytes: device.sent_bytes,
            transmit_packets: device.sent_packets,
            transmit_errors: device.sent_errs,
            transmit_dropped: device.sent_drop,
        })
        .collect();
    interfaces.sort_by(|a, b| a.interface.cmp(&b.interface));
    interfaces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interfaces_are_read_without_loopback() {
        let text = b"Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
             lo:    1      1    0    0    0     0          0         0        1       1    0    0    0     0       0          0\n  \
             eth0: 1296    16    1    2    0     0          0         0     2746      26    3    4    0     0       0          0\n";
        let interfaces = interfaces(text);
        assert_eq!(interfaces.len(), 1);
        let eth0 = &interfaces[0];
        assert_eq!(
            (eth0.interface.as_str(), eth0.receive_bytes, eth0.transmit_dropped),
            ("eth0", 1296, 4)
        );
        assert_eq!((eth0.receive_errors, eth0.receive_dropped, eth0.transmit_packets), (1, 2, 26));
    }

    #[test]
    fn the_network_is_that_of_a_sandbox_whose_process_was_in_the_nodes_at_first() {
        let proc = tempfile::tempdir().unwrap();
        let enter = |pid: &str, namespace: &str| {
            let directory = proc.path().join(pid);
            fs::create_dir_all(directory.join("ns")).unwrap();
            fs::create_dir_all(directory.join("net")).unwrap();
            let link = directory.join("ns/net");
            drop(fs::remove_file(&link));
            std::os::unix::fs::symlink(namespace, link).unwrap();
            let text = "Inter-|\n face |bytes\n eth0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n";
            fs::write(directory.join("net/dev"), text).unwrap();
        };
        enter("1", "net:[1]");
        enter("7", "net:[1]");
        let hierarchy = Hierarchy::V2 { root: proc.path().to_owned() };
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let mut pod = Pod::new(uid, Path::new("poda"), &hierarchy, true);
        pod.adopt_network(7, proc.path());
        assert!(pod.net().is_empty());
        enter("7", "net:[2]");
        pod.adopt_network(7, proc.path());
        assert_eq!(pod.net().first().map(|net| net.receive_bytes), Some(7));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<Vec<u8>>()) {
            let _ = interfaces(&text);
        }
    }
}

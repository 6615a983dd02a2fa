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
    network: Network,
    accounting_error: Option<f64>,
    pub(crate) beside: Beside,
    /// Nested containers for which there was no place.
    nested_left_out: u64,
}

#[derive(Debug)]
enum Network {
    /// No process of the pod has been inspected.
    Untried,
    /// The open file; it keeps the network namespace alive until the pod's end.
    Own(File),
    /// The pod uses the node's network, or its process may not be inspected: no values.
    None,
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
            network: Network::Untried,
            accounting_error: None,
            beside: Beside::default(),
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

    /// Opens the network file of a process of the sandbox, unless it uses the node's network.
    pub(crate) fn adopt_network(&mut self, pid: u32, proc: &Path) {
        if !matches!(self.network, Network::Untried) {
            return;
        }
        let namespace = |pid: &str| fs::read_link(proc.join(pid).join("ns/net")).ok();
        let (Some(pods), Some(nodes)) = (namespace(&pid.to_string()), namespace("1")) else {
            return;
        };
        let path = proc.join(pid.to_string()).join("net/dev");
        self.network = match File::open(path) {
            Ok(file) if pods != nodes => Network::Own(file),
            _ => Network::None,
        };
    }

    fn net(&self) -> Vec<NetUsage> {
        let Network::Own(file) = &self.network else {
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

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<Vec<u8>>()) {
            let _ = interfaces(&text);
        }
    }
}

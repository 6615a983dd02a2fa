//! The metrics of pods: their containers share one network namespace.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_base::clock::unix_ns;
use ephemon_capture::books::PodRecord;
use ephemon_model::NetUsage;

use super::instrument::{Instrument, Kind, Row, Scope};
use super::names;
use super::owner::Owner;
use super::points::{Figure, Points, Subject};
use crate::names::{NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION};

/// Most interfaces of one pod that have points; a job with the right to can make any number.
const MAX_INTERFACES: usize = 32;

/// A pod as it was last read, or as it ended.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Whose points these are.
    pub owner: Arc<Owner>,
    /// The figures.
    pub record: Arc<PodRecord>,
    /// When it began: its first container's birth.
    pub since: SystemTime,
    /// When the figures were read.
    pub at: SystemTime,
}

/// The rows, in the order of the reference.
pub(super) static ROWS: &[Row<Pod>] = &[
    row(
        names::K8S_POD_NETWORK_IO,
        "Bytes received and sent by the pod's interfaces.",
        "By",
        |pod, points| both(pod, points, |net| (net.receive_bytes, net.transmit_bytes)),
    ),
    row(
        names::K8S_POD_NETWORK_ERRORS,
        "Errors while receiving and sending.",
        "{error}",
        |pod, points| both(pod, points, |net| (net.receive_errors, net.transmit_errors)),
    ),
    row(
        names::POD_PACKETS,
        "Packets received and sent by the pod's interfaces.",
        "{packet}",
        |pod, points| both(pod, points, |net| (net.receive_packets, net.transmit_packets)),
    ),
    row(
        names::POD_DROPPED,
        "Packets dropped while receiving and sending.",
        "{packet}",
        |pod, points| both(pod, points, |net| (net.receive_dropped, net.transmit_dropped)),
    ),
];

const fn row(
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    read: fn(&Pod, &mut Points),
) -> Row<Pod> {
    let attributes = &[NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION];
    let (kind, scope) = (Kind::Counter, Scope::Pod);
    Row::new(Instrument { name, description, kind, unit, scope, attributes }, read)
}

// === impl Pod ===

impl Subject for Pod {
    fn start_ns(&self) -> u64 {
        unix_ns(self.since)
    }

    fn at_ns(&self) -> u64 {
        unix_ns(self.at).max(self.start_ns())
    }
}

fn both(pod: &Pod, points: &mut Points, figures: fn(&NetUsage) -> (u64, u64)) {
    for net in pod.record.net.iter().take(MAX_INTERFACES) {
        let (received, sent) = figures(net);
        for (direction, figure) in [("receive", received), ("transmit", sent)] {
            let interface = net.interface.as_str();
            let attributes =
                [(NETWORK_INTERFACE_NAME, interface), (NETWORK_IO_DIRECTION, direction)];
            points.put_with(&attributes, Some(Figure::Count(figure)));
        }
    }
}

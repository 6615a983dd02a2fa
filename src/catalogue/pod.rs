//! The metrics of pods: the network namespace their containers share, and how well their figures
//! add up.

use ephemon_capture::readings::PodRecord;
use ephemon_model::NetUsage;

use super::names::{self, NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION};
use super::row::{Label, Metric, Part, Row};
use super::value::{Points, Value};

/// Interfaces of one pod that have points. A privileged container can make as many as it likes; the
/// pod's own is among the first.
pub const MAX_INTERFACES: usize = 32;

const INTERFACE: &[Label] = &[Label::both("interface", NETWORK_INTERFACE_NAME)];

/// The rows, in the order of the exposition.
pub static ROWS: &[Row<PodRecord>] = &[
    BYTES
        .received("Bytes received by the pod's interface.")
        .family("ephemon_pod_network_receive_bytes_total")
        .many(|pod, points| net(pod, points, |net| net.receive_bytes)),
    PACKETS
        .received("Packets received by the pod's interface.")
        .family("ephemon_pod_network_receive_packets_total")
        .many(|pod, points| net(pod, points, |net| net.receive_packets)),
    ERRORS
        .received("Receive errors of the pod's interface.")
        .family("ephemon_pod_network_receive_errors_total")
        .many(|pod, points| net(pod, points, |net| net.receive_errors)),
    DROPPED
        .received("Packets dropped while receiving.")
        .family("ephemon_pod_network_receive_dropped_total")
        .many(|pod, points| net(pod, points, |net| net.receive_dropped)),
    BYTES
        .sent("Bytes sent by the pod's interface.")
        .family("ephemon_pod_network_transmit_bytes_total")
        .many(|pod, points| net(pod, points, |net| net.transmit_bytes)),
    PACKETS
        .sent("Packets sent by the pod's interface.")
        .family("ephemon_pod_network_transmit_packets_total")
        .many(|pod, points| net(pod, points, |net| net.transmit_packets)),
    ERRORS
        .sent("Transmit errors of the pod's interface.")
        .family("ephemon_pod_network_transmit_errors_total")
        .many(|pod, points| net(pod, points, |net| net.transmit_errors)),
    DROPPED
        .sent("Packets dropped while sending.")
        .family("ephemon_pod_network_transmit_dropped_total")
        .many(|pod, points| net(pod, points, |net| net.transmit_dropped)),
    // The agent's own accounting, checked against the kernel's: no figure of the pod for OTLP.
    Metric::gauge("1", "How far the sum of a pod's containers is from the pod's own CPU counter.")
        .family("ephemon_pod_cpu_accounting_error_ratio")
        .one(|pod| pod.accounting_error.map(Value::Float)),
    // In OTLP the nested containers say it themselves.
    Metric::counter(
        "s",
        "CPU time of nested containers whose cgroups are beside the pod's, and of podman's monitors: not in the pod's own counter.",
    )
    .family("ephemon_pod_beside_cpu_usage_seconds_total")
    .one(|pod| pod.beside_cpu_ns.map(Value::Nanos)),
    Metric::counter(
        "{container}",
        "Nested containers without metrics, because the pod or the node had too many at once.",
    )
    .family("ephemon_pod_nested_containers_left_out_total")
    .one(|pod| (pod.nested_left_out > 0).then_some(Value::Count(pod.nested_left_out))),
];

/// Both directions, one instrument.
struct Traffic {
    instrument: &'static str,
    unit: &'static str,
    description: &'static str,
}

const BYTES: Traffic = Traffic {
    instrument: names::K8S_POD_NETWORK_IO,
    unit: "By",
    description: "Bytes received and sent by the pod's interfaces.",
};
const ERRORS: Traffic = Traffic {
    instrument: names::K8S_POD_NETWORK_ERRORS,
    unit: "{error}",
    description: "Errors while receiving and sending.",
};
const PACKETS: Traffic = Traffic {
    instrument: "ephemon.pod.network.packets",
    unit: "{packet}",
    description: "Packets received and sent by the pod's interfaces.",
};
const DROPPED: Traffic = Traffic {
    instrument: "ephemon.pod.network.dropped",
    unit: "{packet}",
    description: "Packets dropped while receiving and sending.",
};

// === impl Traffic ===

impl Traffic {
    const fn received(&self, help: &'static str) -> Metric {
        self.part(help, "receive")
    }

    const fn sent(&self, help: &'static str) -> Metric {
        self.part(help, "transmit")
    }

    const fn part(&self, help: &'static str, value: &'static str) -> Metric {
        let attribute = NETWORK_IO_DIRECTION;
        Metric::counter(self.unit, help).instrument(self.instrument).labels(INTERFACE).part(Part {
            description: self.description,
            attribute,
            value,
        })
    }
}

fn net(pod: &PodRecord, points: &mut dyn Points, figure: fn(&NetUsage) -> u64) {
    for net in pod.net.iter().take(MAX_INTERFACES) {
        points.put(&[net.interface.as_str().into()], Some(Value::Count(figure(net))));
    }
}

//! The families of pods: the network namespace its containers share.

use ephemon_model::NetUsage;

use super::{Family, Kind, Row, Scope};
use crate::exposition::{Figure, Points};
use crate::view::PodView;

/// Interfaces of one pod that are shown. A privileged container can make as many as it likes; the
/// pod's own is among the first.
pub(crate) const MAX_INTERFACES: usize = 32;

/// The rows, in the order of the exposition.
pub(crate) static ROWS: &[Row<PodView>] = &[
    row(
        "ephemon_pod_network_receive_bytes_total",
        "Bytes received by the pod's interface.",
        |pod, points| net(pod, points, |net| net.receive_bytes),
    ),
    row(
        "ephemon_pod_network_receive_packets_total",
        "Packets received by the pod's interface.",
        |pod, points| net(pod, points, |net| net.receive_packets),
    ),
    row(
        "ephemon_pod_network_receive_errors_total",
        "Receive errors of the pod's interface.",
        |pod, points| net(pod, points, |net| net.receive_errors),
    ),
    row(
        "ephemon_pod_network_receive_dropped_total",
        "Packets dropped while receiving.",
        |pod, points| net(pod, points, |net| net.receive_dropped),
    ),
    row(
        "ephemon_pod_network_transmit_bytes_total",
        "Bytes sent by the pod's interface.",
        |pod, points| net(pod, points, |net| net.transmit_bytes),
    ),
    row(
        "ephemon_pod_network_transmit_packets_total",
        "Packets sent by the pod's interface.",
        |pod, points| net(pod, points, |net| net.transmit_packets),
    ),
    row(
        "ephemon_pod_network_transmit_errors_total",
        "Transmit errors of the pod's interface.",
        |pod, points| net(pod, points, |net| net.transmit_errors),
    ),
    row(
        "ephemon_pod_network_transmit_dropped_total",
        "Packets dropped while sending.",
        |pod, points| net(pod, points, |net| net.transmit_dropped),
    ),
];

const fn row(
    name: &'static str,
    help: &'static str,
    read: fn(&PodView, &mut Points<'_>),
) -> Row<PodView> {
    let family =
        Family { name, help, kind: Kind::Counter, scope: Scope::Pod, labels: &["interface"] };
    Row::many(family, read)
}

fn net(pod: &PodView, points: &mut Points<'_>, figure: fn(&NetUsage) -> u64) {
    for net in pod.record.net.iter().take(MAX_INTERFACES) {
        points.put_with(&[("interface", &net.interface)], Some(Figure::Count(figure(net))));
    }
}

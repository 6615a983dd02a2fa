//! Ports that a test names before somebody listens there, or comes back to.
//!
//! A port that the kernel has chosen (`bind` to 0) is free again once it is closed, and the kernel gives
//! it to the next connection of any process. So these lie below the range from which the kernel takes its
//! own (`ip_local_port_range`, ip(7)) and below the real node's `NodePort`s, and are drawn at random: who else
//! draws from there hardly comes to have the same one.

use std::fs;
use std::io::ErrorKind::AddrInUse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// Ports that programs are known by lie below it.
const LOWEST: u16 = 20_000;
/// As kube-apiserver has it by default.
const FIRST_NODE_PORT: u16 = 30_000;

/// Longest wait for a port.
const PATIENCE: Duration = Duration::from_mins(1);

/// A local port on which nobody listens.
pub(crate) fn free() -> u16 {
    free_on(Ipv4Addr::LOCALHOST.into())
}

/// A port of one of this machine's addresses on which nobody listens.
pub(crate) fn free_on(address: IpAddr) -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let kernels: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    assert!(
        kernels > LOWEST + 1000,
        "the kernel chooses ports from {kernels} on: too few are left"
    );
    let end = kernels.min(FIRST_NODE_PORT);
    let mut drawn = (0..1000).map(|_| fastrand::u16(LOWEST..end));
    drawn.find(|port| is_free(SocketAddr::new(address, *port))).expect("a port nobody has")
}

/// Without listening there, which a process that another test starts would go on with for a moment, see
/// [`listen`].
fn is_free(address: SocketAddr) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    // As listeners do: what is left of connections is in nobody's way.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).is_ok()
}

/// Listens on such a port, or again on one that was listened on a moment ago: a process that is being started
/// has the sockets of its parent until its program runs (`FD_CLOEXEC`, fcntl(2)), and so long the port is in
/// use.
pub(crate) fn listen(address: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == AddrInUse && began.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            bound => return bound.unwrap_or_else(|error| panic!("{address}: {error}")),
        }
    }
}

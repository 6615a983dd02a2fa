//! Ports that a test names before somebody listens there, or comes back to.
//!
//! A port that the kernel has chosen (`bind` to 0) is free again once it is closed, and the kernel gives
//! it to the next connection of any process. So these lie below the range from which the kernel takes its
//! own (`ip_local_port_range`, ip(7)) and below the real node's `NodePort`s, and are drawn at random: who else
//! draws from there hardly comes to have the same one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

/// Ports that programs are known by lie below it.
const LOWEST: u16 = 20_000;
/// As kube-apiserver has it by default.
const FIRST_NODE_PORT: u16 = 30_000;

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
    drawn.find(|port| TcpListener::bind((address, *port)).is_ok()).expect("a port nobody has")
}

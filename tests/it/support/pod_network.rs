//! A network namespace of its own for each pod, with nothing but a loopback: a CNI plug-in of a few
//! lines, and how to be inside from outside.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Every pod's address: each is alone in its network.
pub(crate) const POD_ADDRESS: &str = "10.88.0.2";

/// Speaks CNI 0.4.0. The runtime calls it once for the loopback and once for the network.
const PLUGIN: &str = r#"#!/bin/sh
set -e
address=10.88.0.2/32
[ "$CNI_IFNAME" != lo ] || address=127.0.0.1/8
case $CNI_COMMAND in
ADD)
    nsenter --net="$CNI_NETNS" ip link set lo up
    [ "$CNI_IFNAME" = lo ] || nsenter --net="$CNI_NETNS" ip address add $address dev lo
    echo '{"cniVersion":"0.4.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],' \
        '"ips":[{"version":"4","interface":0,"address":"'$address'"}]}'
    ;;
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
esac
"#;
const NETWORK: &str = r#"{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"alone"}]}"#;

/// Makes the plug-in and its configuration, where containerd is told to look for them.
pub(crate) fn install(directory: &Path) {
    let (bin, conf) = (directory.join("bin"), directory.join("conf"));
    for made in [&bin, &conf] {
        fs::create_dir_all(made).unwrap();
    }
    fs::write(bin.join("alone"), PLUGIN).unwrap();
    fs::set_permissions(bin.join("alone"), fs::Permissions::from_mode(0o755)).unwrap();
    if !bin.join("loopback").exists() {
        symlink("alone", bin.join("loopback")).unwrap();
    }
    fs::write(conf.join("10-pods.conflist"), NETWORK).unwrap();
}

/// A listener in the network of a process. A socket stays in the network it was made in.
pub(crate) fn listen_beside(pid: i32, address: SocketAddr) -> TcpListener {
    let network = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let listening = thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpListener::bind(address).unwrap()
    });
    listening.join().unwrap()
}

//! A network namespace of its own for each pod, with nothing but a loopback: a CNI plug-in of a few
//! lines.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::executable;

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
    executable::write(&bin.join("alone"), PLUGIN.as_bytes());
    if !bin.join("loopback").exists() {
        symlink("alone", bin.join("loopback")).unwrap();
    }
    fs::write(conf.join("10-pods.conflist"), NETWORK).unwrap();
}

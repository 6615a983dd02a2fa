#!/bin/busybox sh
# The first process of the virtual machine, from its initial file system: loads the modules, has the
# host's files as the root, read only, and hands over to the script.
# usage: init.sh SCRIPT SHARE WORD...
# SHARE is a directory of the host that can be written to.

# The kernel has nothing left to run then, and the machine ends.
fail() {
    echo "guest: $*"
    exit 1
}

share=$2
case $share/ in
    /dev/* | /run/* | /var/lib/*) fail "$share is hidden by a directory of the machine's own" ;;
esac
busybox modprobe -a virtio_pci 9pnet_virtio 9p overlay || fail "a module is refused"
echo "guest: modules are loaded"

# Nothing else changes the host's files meanwhile, so they may be cached.
options=trans=virtio,version=9p2000.L,msize=512000
busybox mount -t 9p -o "$options,cache=loose,ro" root /root || fail "no root"
busybox mount -t 9p -o "$options,cache=none" share "/root$share" || fail "no $share"
echo "guest: the host's files are there"
exec busybox switch_root /root /bin/sh "$@"

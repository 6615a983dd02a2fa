# Process 1 of the machine, after `init.sh`: makes it a cgroup v2 host and runs a test binary.
# usage: vm.sh SHARE TEST-BINARY FILTER...
# SHARE is a directory of the host; `booted`, `output` and `code` in it are the answer.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# The kernel's own file systems; of the host's only SHARE can be written to.
mount_all() {
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    mount -t tmpfs tmpfs /run
    mkdir -p /run/it /run/user/0
    # Where a container runtime keeps what its network plug-ins said; nobody asks for the rest.
    mount -t tmpfs tmpfs /var/lib
}

# Cgroup v2 on its mount point, with every controller for the groups below the root.
mount_cgroups() {
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
    done
}

share=$1
test=$2
shift 2
echo yes > "$share/booted"
export HOME=/root RUST_BACKTRACE=0 TMPDIR=/run/it
# Nothing may skip.
export CI=true EPHEMON_IT_IN_VM=yes
{
    mount_all
    mount_cgroups
    ip link set lo up
    echo "Linux $(uname -r), $(cat /sys/fs/cgroup/cgroup.subtree_control)"
    "$test" --test-threads=1 --nocapture "$@"
    code=$?
} > "$share/output" 2>&1
sync
echo "$code" > "$share/code.new"
mv "$share/code.new" "$share/code"
# The host ends the machine.
exec sleep infinity

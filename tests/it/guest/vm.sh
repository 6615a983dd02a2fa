# Runs inside the virtual machine: makes it a cgroup v2 host and runs a test binary.
# usage: vm.sh SHARE TEST-BINARY FILTER...
# SHARE is a directory of the host; `booted`, `output` and `code` in it are the answer.
set -u
share=$1
test=$2
shift 2
echo yes > "$share/booted"

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root EPHEMON_IT_IN_VM=1 RUST_BACKTRACE=1 TMPDIR=/run/it
{
    mountpoint -q /run || mount -t tmpfs tmpfs /run
    mkdir -p /run/it /run/user/0
    umount -R /sys/fs/cgroup 2> /dev/null
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
    done
    ip link set lo up
    # Every page of a program on 9p is fetched anew at every start: keep the busy ones in memory.
    mkdir /run/bin
    for program in containerd containerd-shim-runc-v2 ctr runc; do
        cp "$(command -v "$program")" /run/bin/
    done
    export PATH="/run/bin:$PATH"
    uname -r
    cat /sys/fs/cgroup/cgroup.subtree_control
    "$test" --test-threads=1 --nocapture "$@"
    code=$?
} > "$share/output" 2>&1
sync
echo "$code" > "$share/code.new"
mv "$share/code.new" "$share/code"

# Runs inside the virtual machine: makes it a cgroup v2 host and runs a test binary.
# usage: vm.sh SHARE TEST-BINARY DRIVER FILTER...
# SHARE is a directory of the host; `booted`, `output` and `code` in it are the answer.
# DRIVER is who makes cgroups: `cgroupfs`, or `systemd` for a systemd that is started for it.
set -u

# In front of the machine's own files: what is started often. Every page of a program on 9p is
# fetched anew at every start.
prepare() {
    mkdir -p /run/bin /run/it /run/user/0
    for program in containerd containerd-shim-runc-v2 ctr runc; do
        cp "$(command -v "$program")" /run/bin/
    done
}

# Cgroup v2 on its mount point, with every controller for the groups below the root.
mount_cgroups() {
    umount -R /sys/fs/cgroup 2> /dev/null
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
    done
}

# The first process of the new namespaces: clears the place and becomes systemd.
become_systemd() {
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/system
    ln -s /dev/null /run/systemd/system/systemd-tmpfiles-setup.service
    prepare
    exec env -i container=lxc "PATH=$PATH" /lib/systemd/systemd --system --unit=sysinit.target
}

# systemd as the first process of new pid, mount and cgroup namespaces, on a cgroup of its own;
# leaves its process id in $systemd.
start_systemd() {
    mkdir /sys/fs/cgroup/node
    sh -c 'echo $$ > /sys/fs/cgroup/node/cgroup.procs
        exec unshare --pid --fork --mount --cgroup --mount-proc sh "$0" become-systemd' "$0" &
    unshare=$!
    for _ in $(seq 600); do
        systemd=$(cat "/proc/$unshare/task/$unshare/children" 2> /dev/null)
        systemd=${systemd% }
        [ -n "$systemd" ] && nsenter -t "$systemd" --pid --mount \
            systemctl is-active --quiet sysinit.target 2> /dev/null && return
        sleep 0.5
    done
    echo "systemd is not up"
}

if [ "$1" = become-systemd ]; then
    become_systemd
fi

share=$1
test=$2
driver=$3
shift 3
echo yes > "$share/booted"
export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root RUST_BACKTRACE=0 TMPDIR=/run/it
export EPHEMON_IT_IN_VM="$driver"
{
    mountpoint -q /run || mount -t tmpfs tmpfs /run
    mount_cgroups
    ip link set lo up
    echo "Linux $(uname -r), $driver, $(cat /sys/fs/cgroup/cgroup.subtree_control)"
    case $driver in
    systemd)
        start_systemd
        mkdir /sys/fs/cgroup/node/tests
        echo $$ > /sys/fs/cgroup/node/tests/cgroup.procs
        nsenter -t "$systemd" --pid --mount --cgroup "$test" --test-threads=1 --nocapture "$@"
        ;;
    *)
        prepare
        # Where a container runtime keeps what its network plug-ins said; nobody asks for the rest.
        mount -t tmpfs tmpfs /var/lib
        "$test" --test-threads=1 --nocapture "$@"
        ;;
    esac
    code=$?
} > "$share/output" 2>&1
sync
echo "$code" > "$share/code.new"
mv "$share/code.new" "$share/code"

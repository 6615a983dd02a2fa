//! Work for the processor that says at its end what the kernel counted for it.

/// A script that uses the processor for so long, and ends with its container's own counter, in
/// nanoseconds, as its last line. The paths are those of cgroup version 1, and of version 2 in
/// microseconds.
pub(crate) fn burn(seconds: u64) -> String {
    format!(
        "end=$(($(date +%s) + {seconds})); while [ $(date +%s) -lt $end ]; do :; done; \
         cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || \
         echo $(($(awk '/^usage_usec/ {{ print $2 }}' /sys/fs/cgroup/cpu.stat) * 1000))"
    )
}

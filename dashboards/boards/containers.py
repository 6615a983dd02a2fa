"""What containers used, to the last: one pod's, or those of any set of pods."""
from .families import C, CLUSTER, NAMED, NAMESPACE, ONE, POD, last, most, of_running, once, rate, running, throttled_longest
from .parts import RED, dashboard, label_variables, lines, row, stat, table, to_job, variable

CHOSEN = f'{POD}, $container_label=~"$container", container_type=~"$container_type"'
# What is nested below a container is in that one's values.
SUMMED = f'{CHOSEN}, container_type!="nested"'
OOM = f'{SUMMED}, event="oom_kill"'
TEN = "The ten that used most in the time shown."


def by_container(family):
    return f"sum by ({ONE}) ({rate(C + family, CHOSEN)})"


def gauge(family):
    return running(C + family, CHOSEN)


def of_all(family, label):
    """Of all containers chosen together, by a label with few values."""
    return f"sum by ({label}) ({rate(C + family, SUMMED)})"


def figures():
    info = last(C + "info", CHOSEN, f"{ONE}, container_type, image")
    quality = last(C + "final_quality_info", CHOSEN, f"{ONE}, quality")
    reason = last(C + "exit_reason_info", CHOSEN, f"{ONE}, exit_reason")
    length = f"{last(C + 'end_time_seconds', CHOSEN)} - {last(C + 'start_time_seconds', CHOSEN)}"
    return [
        row("In the time shown, ended containers included"),
        stat("Containers", "Containers that were reported, running or ended.", f"count({last(C + 'start_time_seconds', CHOSEN)})"),
        stat("CPU time", "Exact, however short the containers were.", f"sum({once(C + 'cpu_usage_seconds_total', SUMMED)})", "s"),
        stat("Throttled", "Time in which containers waited for a CPU quota.", f"sum({once(C + 'cpu_cfs_throttled_seconds_total', SUMMED)})", "s"),
        stat("Highest peak", "The highest memory use of any one container.", f"max({once(C + 'memory_peak_bytes', CHOSEN)})", "bytes"),
        stat("OOM kills", "Processes that the kernel killed for want of memory.", f"sum({once(C + 'memory_events_total', OOM)})", steps=RED),
        stat("Exit code not 0", "Containers whose first process ended with another exit code.", f"count({last(C + 'exit_code', CHOSEN)} > 0) or vector(0)", steps=RED),
        table("Containers", "`quality` says how the final values were obtained: exact, residual (from the pod's own counters), residual_shared, last_sample (a lower bound). The name of a pod links to its job.", [
            ("is", info, "short"),
            ("of", quality, "short"),
            ("by", reason, "short"),
            ("CPU time", once(C + "cpu_usage_seconds_total", CHOSEN), "s"),
            ("throttled", once(C + "cpu_cfs_throttled_seconds_total", CHOSEN), "s"),
            ("peak memory", once(C + "memory_peak_bytes", CHOSEN), "bytes"),
            ("memory limit", last(C + "memory_limit_bytes", CHOSEN), "bytes"),
            ("most tasks", once(C + "tasks_peak", CHOSEN), "short"),
            ("lived", length, "s"),
            ("exit code", last(C + "exit_code", CHOSEN), "short"),
        ], hidden=["is", "of", "by"], links={"pod": [to_job()]}, sort="-CPU time"),
    ]


def cpu():
    by_time = once(C + "cpu_usage_seconds_total", CHOSEN)
    throttled = throttled_longest(CHOSEN)
    return [
        row("CPU"),
        lines("CPU used, and allowed", f"{TEN} A container shorter than two scrapes has no rate; its total is in the table above.", [
            (most(by_container("cpu_usage_seconds_total"), by_time), NAMED),
            (most(gauge("cpu_limit_cores"), by_time), "limit " + NAMED),
        ], "cores"),
        lines("Throttled share of periods", "Periods of the quota in which it was used up. The ten containers that were throttled longest.", [
            (most(f"{by_container('cpu_cfs_throttled_periods_total')} / ({by_container('cpu_cfs_periods_total')} > 0)", throttled), NAMED),
        ], "percentunit"),
        lines("In user mode, and in the kernel", "Of all containers chosen.", [
            (f"sum({rate(C + 'cpu_user_seconds_total', SUMMED)})", "user"),
            (f"sum({rate(C + 'cpu_system_seconds_total', SUMMED)})", "kernel"),
        ], "cores", stack=True),
        lines("Time throttled", "Seconds of waiting for the quota, a second. The ten containers that were throttled longest.", [
            (most(by_container("cpu_cfs_throttled_seconds_total"), throttled), NAMED),
        ], "s"),
    ]


def memory():
    by_peak = once(C + "memory_peak_bytes", CHOSEN)
    events = f"max by ({ONE}, event) (max_over_time({C}memory_events_total{{{CHOSEN}}}[$__range])) > 0"
    return [
        row("Memory"),
        lines("Working set, and limit", "The working set is what the kubelet evicts by. The ten containers with the highest peak.", [
            (most(gauge("memory_working_set_bytes"), by_peak), NAMED),
            (most(gauge("memory_limit_bytes"), by_peak), "limit " + NAMED),
        ], "bytes"),
        lines("What it is", "Of all containers chosen, while they run.", [
            (of_running(C + "memory_rss_bytes", SUMMED), "anonymous"),
            (of_running(C + "memory_cache_bytes", SUMMED), "page cache"),
            (of_running(C + "memory_swap_bytes", SUMMED), "swap"),
            (of_running(C + "memory_usage_bytes", SUMMED), "all that is charged"),
        ], "bytes"),
        table("Memory events", "By the kernel's names: max is the limit reached, oom_kill a process killed.", [
            ("times", events, "short"),
        ], height=8, width=12, sort="-times"),
        lines("Page faults", "Of all containers chosen. Major faults needed I/O.", [(of_all("memory_page_faults_total", "type"), "{{type}}")], "ops"),
    ]


def waits():
    highest = lambda family: f"max by (resource) ({rate(C + family, CHOSEN)})"
    return [
        row("Pressure, tasks"),
        lines("Waiting, and stalled", "PSI: the share of time in which some tasks, or all, of a container waited. Of the container that waits most. cgroup v2 only.", [
            (highest("pressure_waiting_seconds_total"), "waiting for {{resource}}"),
            (highest("pressure_stalled_seconds_total"), "stalled for {{resource}}"),
        ], "percentunit"),
        lines("Tasks", "Processes and threads. The ten containers that had most at once.", [
            (most(gauge("tasks"), once(C + "tasks_peak", CHOSEN)), NAMED),
        ]),
        table("Tasks against their limits", "`refused`: times a new task was not allowed.", [
            ("most tasks", once(C + "tasks_peak", CHOSEN), "short"),
            ("limit", last(C + "tasks_limit", CHOSEN), "short"),
            ("refused", once(C + "tasks_limit_hits_total", CHOSEN), "short"),
        ], height=8, sort="-most tasks"),
    ]


def traffic():
    pod = "$namespace_label, $pod_label"
    network = lambda name: f"sum by ({pod}) ({rate('ephemon_pod_network_' + name + '_total', POD)})"
    both = lambda what: f"sum({rate(f'ephemon_pod_network_receive_{what}_total', POD)}) + sum({rate(f'ephemon_pod_network_transmit_{what}_total', POD)})"
    received = f"sum by ({pod}) (max_over_time(ephemon_pod_network_receive_bytes_total{{{POD}}}[$__range]))"
    return [
        row("Input and output"),
        lines("Block devices, bytes", "Of all containers chosen.", [(of_all("io_bytes_total", "operation"), "{{operation}}")], "Bps"),
        lines("Block devices, operations", "Of all containers chosen.", [(of_all("io_operations_total", "operation"), "{{operation}}")], "iops"),
        lines("Network of the pod", "All containers of a pod share it. The ten pods that received most.", [
            (most(network("receive_bytes"), received, pod), "received {{$pod_label}}"),
            (most("-" + network("transmit_bytes"), received, pod), "sent {{$pod_label}}"),
        ], "Bps", minimum=None),
        lines("Packets, errors, drops", "Of all pods chosen, received and sent.", [(both(what), word) for what, word in (("packets", "packets"), ("errors", "errors"), ("dropped", "dropped"))], "pps"),
    ]


def containers():
    start = C + "start_time_seconds"
    variables = [
        *label_variables(start, "namespace", "pod", "container"),
        variable("cluster", "Cluster", start),
        variable("namespace", "Namespace", start, CLUSTER),
        variable("pod", "Pod", start, NAMESPACE),
        variable("container", "Container", start, POD),
        variable("container_type", "Kind", start),
    ]
    panels = [*figures(), *cpu(), *memory(), *waits(), *traffic()]
    return dashboard("ephemon-containers", "ephemon / Containers", "What the containers of a job used, to the last.", panels, variables)

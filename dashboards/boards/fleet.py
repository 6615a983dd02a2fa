"""All containers of all runners."""
from .families import C, CLUSTER, MOST, NAMED, NAMESPACE, ONE, last, most, once, rate, running
from .parts import RED, bars, dashboard, label_variables, lines, row, stat, table, to_job, variable

# A pod's sandbox only waits for signals.
N = f'{NAMESPACE}, container_type!~"sandbox|nested"'
OOM = f'{N}, event="oom_kill"'
USED = once(C + "cpu_usage_seconds_total", N)
PEAK = once(C + "memory_peak_bytes", N)
LIVED = f"({last(C + 'end_time_seconds', N)} - {last(C + 'start_time_seconds', N)})"
TO_JOB = {"pod": [to_job()]}


def now():
    started = f"max by ({ONE}, container_type) ({C}start_time_seconds{{{N}}})"
    ended = f"max by ({ONE}, container_type) ({C}end_time_seconds{{{N}}})"
    busiest = lambda expr: most(expr, f"sum by ($namespace_label) ({USED})", "$namespace_label")
    ten = f"The {MOST} namespaces that used most CPU time."
    return [
        row("Now"),
        lines("Containers shown, by kind", "Ended ones stay until every scraper has fetched them twice.", [
            (f"count by (container_type) ({started} unless {ended})", "running {{container_type}}"),
            (f"count by (container_type) ({ended})", "ended {{container_type}}"),
        ]),
        lines("Runner pods", ten, [
            (busiest(f"count by ($namespace_label) (count by ($namespace_label, $pod_label) ({C}start_time_seconds{{{N}}}))"), "{{$namespace_label}}"),
        ], stack=True),
        lines("CPU by namespace", ten, [
            (busiest(f"sum by ($namespace_label) ({rate(C + 'cpu_usage_seconds_total', N)})"), "{{$namespace_label}}"),
        ], "cores", stack=True),
        lines("Working set by namespace", ten, [
            (busiest(f"sum by ($namespace_label) ({running(C + 'memory_working_set_bytes', N)})"), "{{$namespace_label}}"),
        ], "bytes", stack=True),
    ]


def most_used():
    limit = f"({last(C + 'memory_limit_bytes', N)} > 0)"
    of_limit = f"{PEAK} / {limit}"
    periods = f"({once(C + 'cpu_cfs_periods_total', N)} > 0)"
    throttled = f"{once(C + 'cpu_cfs_throttled_periods_total', N)} / {periods}"
    rows = 25
    # Columns of the rows that a ranking leaves.
    of = lambda expr, rank: f"({expr}) and on ({ONE}) topk({rows}, {rank})"
    image = f"max by ({ONE}, image) (last_over_time({C}info{{{N}}}[$__range]))"
    return [
        row("Who used most, in the time shown"),
        table("Most CPU time", f"The {rows} containers that used most. `throttled`: the share of the quota's periods in which it was used up. The name of a pod links to its job.", [
            ("CPU time", f"topk({rows}, {USED})", "s"),
            ("throttled", of(throttled, USED), "percentunit"),
            ("peak memory", of(PEAK, USED), "bytes"),
            ("lived", of(LIVED, USED), "s"),
        ], links=TO_JOB, sort="-CPU time"),
        table("Nearest to their memory limit", f"The {rows} containers whose peak was nearest. Near 100 %: give it more, or it will be killed. The name of a pod links to its job.", [
            ("of the limit", f"topk({rows}, {of_limit})", "percentunit"),
            ("peak memory", of(PEAK, of_limit), "bytes"),
            ("memory limit", of(limit, of_limit), "bytes"),
        ], links=TO_JOB, sort="-of the limit"),
        bars("CPU time by image", f"The {MOST} images whose containers used most.", f"topk({MOST}, sum by (image) ({USED} * on ({ONE}) group_left (image) {image}))", "{{image}}", "s"),
        bars("Longest lives", f"The {MOST} ended containers that ran longest.", f"topk({MOST}, {LIVED})", "{{$namespace_label}} " + NAMED, "s"),
    ]


def fleet():
    panels = [
        row("In the time shown"),
        stat("Containers", "Containers that were reported, running or ended.", f"count({last(C + 'start_time_seconds', N)})"),
        stat("CPU time", "Of all containers, exact, however short they were.", f"sum({USED})", "s"),
        stat("Median life", "Half of the containers that ended were shorter.", f"quantile(0.5, {LIVED})", "s"),
        stat("OOM kills", "Processes that the kernel killed for want of memory.", f"sum({once(C + 'memory_events_total', OOM)})", steps=RED),
        stat("Exit code not 0", "Containers whose first process ended with another exit code.", f"count({last(C + 'exit_code', N)} > 0) or vector(0)"),
        stat("Nodes watched", "Agents that are scraped, one a node.", f"count(ephemon_agent_build_info{{{CLUSTER}}})"),
        *now(),
        *most_used(),
        row("What went wrong"),
        table("Containers with an exit code other than 0", "128 + the signal's number where a signal ended it: 137 is SIGKILL, often the OOM killer. The name of a pod links to its job.", [
            ("exit code", f"{last(C + 'exit_code', N)} > 0", "short"),
        ], links=TO_JOB),
    ]
    start = C + "start_time_seconds"
    variables = [
        *label_variables(start, "namespace", "pod", "container"),
        variable("cluster", "Cluster", start),
        variable("namespace", "Namespace", start, CLUSTER),
    ]
    return dashboard("ephemon-fleet", "ephemon / Fleet", "All containers of all runners.", panels, variables)

"""The agents: whether the figures are whole, and what they cost."""
from .families import CLUSTER, MOST, most, rate
from .parts import RED, dashboard, label_variables, lines, row, stat, table, variable

A = f'{CLUSTER}, instance=~"$instance"'
# Reasons to drop that are somebody's choice, or no loss.
CHOSEN = "unselected|superseded|rate_limited|sampled"
ERROR = f"abs(ephemon_pod_cpu_accounting_error_ratio{{{CLUSTER}}})"
SETTINGS = "pod_selector, api, cri, enforce_limits, nri, sample_interval, retain_ended, max_ended, logs, trace_mode, otlp_metrics, metrics_allow, metrics_deny"
TEN = f"The {MOST} agents with most."


def own(expr):
    """Figures that every program has, of the agents only."""
    return f"{expr} and on (instance) ephemon_agent_build_info"


def summed(family, label):
    return f"sum by ({label}) ({rate('ephemon_agent_' + family, A)})"


def highest(expr, family):
    """Of curves of agents those of the agents whose `family` was highest."""
    return ranked(expr, f"max_over_time({family}{{{A}}}[$__range])")


def ranked(expr, height):
    agents = "last_over_time(ephemon_agent_build_info[$__range])"
    return most(expr, f"max by (instance) ({height}) and on (instance) {agents}", "instance")


def readings():
    """By a native histogram where the scrape has one, else by a classic one."""
    family = "ephemon_agent_reading_duration_seconds"
    rates = [f"sum by (instance) (histogram_count({rate(family, A)}))", f"sum by (instance) ({rate(family + '_count', A)})"]
    heights = [f"histogram_count(rate({family}{{{A}}}[$__range]))", f"rate({family}_count{{{A}}}[$__range])"]
    return ranked(" or ".join(rates), " or ".join(heights))


def quantiles(family):
    """As `readings`."""
    native, classic = (rate(f"ephemon_agent_{family}{ending}", A) for ending in ("", "_bucket"))
    shares = (0.5, "half within"), (0.99, "99 % within")
    return [(f"histogram_quantile({share}, sum({native})) or histogram_quantile({share}, sum by (le) ({classic}))", word) for share, word in shares]


def whole():
    finals = f"increase(ephemon_agent_final_readings_total{{{A}}}[$__range])"
    exact = f'increase(ephemon_agent_final_readings_total{{{A}, quality="exact"}}[$__range])'
    lost = f'round(sum(increase(ephemon_agent_dropped_items_total{{{A}, reason!~"{CHOSEN}"}}[$__range]))) or vector(0)'
    return [
        row("Are the figures whole?"),
        stat("Agents", "Agents that are scraped, one a node.", f"count(ephemon_agent_build_info{{{A}}})"),
        stat("Finals that are exact", "Of the final readings of containers that ended in the time shown.", f"sum({exact}) / (sum({finals}) > 0)", "percentunit"),
        stat("Worst accounting error", "Of any pod: the sum of its containers against its own counter.", f"max({ERROR})", "percentunit", steps=[{"color": "red", "value": 0.01}]),
        stat("Data given up", "Without what was not asked for: pods that the selector does not name.", lost, steps=RED),
        stat("Busiest agent", "Of one CPU.", f"max({own(rate('process_cpu_seconds_total', A))})", "percentunit"),
        stat("Largest agent", "Its resident memory.", f"max({own(f'process_resident_memory_bytes{{{A}}}')})", "bytes"),
        lines("Finals by quality", "exact: read after the last process ended. residual: the pod's total minus all other containers. last_sample: a lower bound.", [
            (summed("final_readings_total", "quality"), "{{quality}}"),
        ], "ops", stack=True),
        table("Accounting error", f"The {MOST} pods whose containers differ most from the pod's own CPU counter, now.", [
            ("error", f"topk({MOST}, max by ($namespace_label, $pod_label) ({ERROR}))", "percentunit"),
        ], height=8, width=12, sort="-error"),
        lines("Data given up", "unselected is not a loss: the pod is not asked for. superseded: a newer container has the same name.", [
            (summed("dropped_items_total", "signal, reason"), "{{signal}}: {{reason}}"),
        ], "ops"),
        lines("Containers found, by how", "rescan: the kernel's word was missed and the walk every five seconds found it.", [
            (summed("containers_discovered_total", "source"), "{{source}}"),
        ], "ops"),
        lines("Watches that answer", "Agents whose watch of the API server's pods, or of the runtime, answers now.", [
            (f"sum by (watch) (ephemon_agent_watch_up{{{A}}})", "{{watch}}"),
        ]),
        lines("Failures of watches", "Times a watch did not answer, or ended early.", [(summed("watch_failures_total", "watch"), "{{watch}}")], "ops"),
    ]


def costs():
    cpu, resident = rate("process_cpu_seconds_total", A), f"process_resident_memory_bytes{{{A}}}"
    return [
        row("What the agents cost"),
        lines("CPU", f"Of one CPU. {TEN}", [(highest(own(cpu), "process_cpu_seconds_total"), "{{instance}}")], "percentunit"),
        lines("Memory", f"Resident memory. {TEN}", [(highest(own(resident), "process_resident_memory_bytes"), "{{instance}}")], "bytes"),
        lines("Readings", f"Containers read, a second. {TEN}", [
            (readings(), "{{instance}}"),
        ], "ops"),
        lines("Time of a reading", "To read one container's cgroup files.", quantiles("reading_duration_seconds"), "s"),
        lines("Time of a scrape's answer", "To put one answer on /metrics together.", quantiles("scrape_duration_seconds"), "s"),
        lines("Open files of those allowed", f"Sixteen a container. {TEN}", [
            (highest(own(f"process_open_fds{{{A}}} / process_max_fds{{{A}}}"), "process_open_fds"), "{{instance}}"),
        ], "percentunit"),
        lines("Threads", TEN, [(highest(own(f"process_threads{{{A}}}"), "process_threads"), "{{instance}}")]),
        table("Versions", "Of each agent, with its time of start and its virtual memory.", [
            ("is", f"max by (instance, version, revision) (ephemon_agent_build_info{{{A}}})", "short"),
            ("started", own(f"max by (instance) (process_start_time_seconds{{{A}}}) * 1000"), "dateTimeAsIso"),
            ("virtual memory", own(f"max by (instance) (process_virtual_memory_bytes{{{A}}})"), "bytes"),
        ], hidden=["is"], height=8),
        table("Settings", "The flags that change which values there are. Agents of one DaemonSet have the same.", [
            ("is", f"max by (instance, {SETTINGS}) (ephemon_agent_settings_info{{{A}}})", "short"),
        ], hidden=["is"], height=8),
    ]


def agent():
    panels = [
        *whole(),
        row("Limits"),
        lines("Limits by outcome", "Zero where no agent enforces them. failed: the kernel refused. invalid: the text of the spec.", [
            (summed("limit_enforcements_total", "result"), "{{result}}"),
        ], "ops"),
        *costs(),
    ]
    variables = [
        *label_variables("ephemon_pod_cpu_accounting_error_ratio", "namespace", "pod"),
        variable("cluster", "Cluster", "ephemon_agent_build_info"),
        variable("instance", "Agent", "ephemon_agent_build_info", CLUSTER),
    ]
    return dashboard("ephemon-agent", "ephemon / Agents", "Whether the figures are whole, and what they cost.", panels, variables)

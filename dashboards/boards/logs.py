"""What containers write, and whether all of it arrives."""
from .agent import A, summed
from .families import C, CLUSTER, MOST, NAMESPACE, ONE, grown, last, most, once, rate
from .parts import RED, bars, dashboard, label_variables, lines, row, stat, table, to_job, variable

N = f'{NAMESPACE}, container_type!~"sandbox|nested"'


def wrote():
    read = once(C + "log_lines_total", N, ONE + ", stream")
    by = "$namespace_label"
    loudest = lambda expr, family: most(expr, f"sum by ({by}) ({once(C + family, N, ONE + ', stream')})", by)
    lines_of = f"sum by ({ONE}) ({read})"
    of = lambda expr: f"({expr}) and on ({ONE}) topk(25, {lines_of})"
    return [
        row("What containers write"),
        lines("Lines", f"The {MOST} namespaces that wrote most.", [
            (loudest(f"sum by ({by}) ({rate(C + 'log_lines_total', N)})", "log_lines_total"), "{{$namespace_label}}"),
        ], "ops", stack=True),
        lines("Bytes, by stream", "Text of all lines read.", [(f"sum by (stream) ({rate(C + 'log_bytes_total', N)})", "{{stream}}")], "Bps", stack=True),
        table("Most lines", "The 25 containers that wrote most. `whole`: 1 where every byte of the log was delivered, 0 where something is or may be missing, empty while it is read. The name of a pod links to its job.", [
            ("lines", f"topk(25, {lines_of})", "short"),
            ("bytes", of(f"sum by ({ONE}) ({once(C + 'log_bytes_total', N, ONE + ', stream')})"), "bytes"),
            ("delivered", of(once(C + "log_delivered_lines_total", N)), "short"),
            ("lost", of(f"sum by ({ONE}) ({once(C + 'log_lost_bytes_total', N, ONE + ', reason')})"), "bytes"),
            ("whole", of(last(C + "log_complete", N)), "short"),
        ], links={"pod": [to_job()]}, sort="-lines"),
    ]


def sent():
    of_agents = lambda family, by: most(f"sum by ({by}) ({family}{{{A}}})", f"sum by (instance) (max_over_time({family}{{{A}}}[$__range]))", "instance")
    ten = f"The {MOST} agents with most."
    return [
        row("On the way to the collector"),
        lines("Requests by outcome", "retried: sent again. denied: sent again, for want of valid credentials. refused: given up, the collector will never take it.", [
            (summed("otlp_requests_total", "signal, result"), "{{signal}}: {{result}}"),
        ], "reqps"),
        lines("Written and not yet delivered", f"Bytes of logs on nodes. {ten}", [(of_agents("ephemon_agent_log_lag_bytes", "instance"), "{{instance}}")], "bytes"),
        lines("On nodes' disks", f"What the collector did not take in time. Bounded by --spool-mib for each signal. {ten}", [
            (of_agents("ephemon_agent_spool_bytes", "instance"), "{{instance}}"),
        ], "bytes"),
        lines("Lost, by why", "Bytes of logs that could not be read any more.", [(summed("log_lost_bytes_total", "reason"), "{{reason}}")], "Bps"),
        lines("Logs not read, and lines without a time", "A log that is a link is read only below --log-link-dirs. A line has no time where the runtime's record or its stamp is broken.", [
            (summed("logs_refused_total", "reason"), "logs: {{reason}}"),
            (summed("log_malformed_total", "reason"), "lines: {{reason}}"),
        ], "ops"),
        bars("Pods that wait for others", f"How many, on average: they use more than their share of the time for reading and masking logs. The agent's log names them. {ten}", f"topk({MOST}, {grown('ephemon_agent_log_share_wait_seconds_total', A, 'instance')} / $__range_s)", "{{instance}}"),
        bars("Logs that are over and not whole", f"Something of them is, or may be, missing: a log that was removed while no agent ran has no bytes that anybody counted. {ten}", f"topk({MOST}, round({grown('ephemon_agent_logs_incomplete_total', A, 'instance')}))", "{{instance}}"),
    ]


def logs():
    complete = last(C + "log_complete", N)
    lost = f"increase(ephemon_agent_log_lost_bytes_total{{{A}}}[$__range])"
    read = once(C + "log_lines_total", N, ONE + ", stream")
    panels = [
        row("In the time shown"),
        stat("Logs that are over", "Logs of ended containers, read to the end.", f"count({complete}) or vector(0)"),
        stat("Of these whole", "Every byte was delivered.", f"sum({complete}) / (count({complete}) > 0)", "percentunit"),
        stat("Lines read", "Of all containers whose logs are exported.", f"sum({read})"),
        stat("Lines delivered", "To the collector, or into the spool on the node. Fewer than read: some are on their way, or were chosen not to go.", f"sum({once(C + 'log_delivered_lines_total', N)})"),
        stat("Bytes lost", "Bytes of logs that could not be read any more.", f"sum({lost})", "bytes", steps=RED),
        stat("Waiting on nodes' disks", "What the collector did not take in time, of all signals.", f"sum(ephemon_agent_spool_bytes{{{A}}})", "bytes"),
        *wrote(),
        *sent(),
    ]
    start = C + "start_time_seconds"
    variables = [
        *label_variables(start, "namespace", "pod", "container"),
        variable("cluster", "Cluster", start),
        variable("namespace", "Namespace", start, CLUSTER),
        variable("instance", "Agent", "ephemon_agent_build_info", CLUSTER),
    ]
    return dashboard("ephemon-logs", "ephemon / Logs", "What containers write, and whether all of it arrives.", panels, variables)

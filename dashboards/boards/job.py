"""One job: its containers and steps in time, what they used and cost, its trace and its log."""
from .families import C, CLUSTER, J, ONE, POD, last, most, once, rate, running, throttled_longest
from .jobs import GIB, GITHUB, KIND, PRICES, TRACES, at_github, money
from .parts import RED, dashboard, label_variables, lines, log_lines, of_row, one_value, row, source, spans, stat, table, timeline, to_board, to_trace, trace, variable, written

NODE = f'{CLUSTER}, node=~"$node"'
# Each variable offers what those before it leave.
CHAIN = [f'{NODE}, $namespace_label=~"$namespace"']
for name in ("organization", "repository", "workflow", "job_id", "run_id"):
    CHAIN.append(f'{CHAIN[-1]}, {name}=~"${name}"')
# Of the job's pod, and of its containers that are chosen.
P = POD
F = f'{POD}, $container_label=~"$container"'
# What is nested below a container is in that one's values.
SUMMED = f'{F}, container_type!="nested"'
OOM = f'{SUMMED}, event="oom_kill"'
NAME = "{{$container_label}}"
# How often a container's memory is looked at when it is added up.
STEP = "15s"
STATES = [(0, "running", "blue"), (1, "ended, exit code 0", "green"), (2, "ended, another exit code", "red"), (3, "ended, exit code not reported", "text")]

START = last(C + "start_time_seconds", F)
END = last(C + "end_time_seconds", F)
CPU = once(C + "cpu_usage_seconds_total", F)
CPU_OF_ALL = once(C + "cpu_usage_seconds_total", SUMMED)
PEAK = once(C + "memory_peak_bytes", F)
# Until its end, or until it was last reported.
SEEN = f"max by ({ONE}) (max_over_time(timestamp({C}start_time_seconds{{{F}}})[$__range:{STEP}]))"
LIVED = f"(({END} or {SEEN}) - {START})"


def held():
    """Memory over time, byte seconds of each container: its mean while it ran, times its life. One that
    ended before it was looked at has its peak as its mean."""
    mean = f"(avg_over_time(({running(C + 'memory_working_set_bytes', SUMMED)})[$__range:{STEP}]) or {once(C + 'memory_peak_bytes', SUMMED)})"
    return f"{mean} * {LIVED}"


def which():
    info = last(J + "info", P, f"$pod_label, {KIND}, run_id, run_attempt, event_name, runner_name, trace_id")
    named = last(J + "name_info", P, f"$pod_label, {KIND}, job_name")
    ended = last(J + "result_info", P, f"$pod_label, {KIND}, result")
    kind = {name: of_row(name) for name in ("namespace", "organization", "repository")}
    links = {
        "pod": [to_board("ephemon-containers", "Its containers, in full", namespace=of_row("namespace"), pod=of_row("pod"))],
        "repository": [to_board("ephemon-jobs", "Jobs of its repository", **kind)],
        "run_id": [at_github()],
        "trace_id": [to_trace()],
    }
    return [
        row("The job"),
        table("Which job", "Repository, run and names are reported where the job runs with the hook. Links lead to the pod's containers, to the jobs of the repository, to the run on GitHub, to the trace.", [
            ("is", info, "short"),
            ("called", named, "short"),
            ("ended", ended, "short"),
        ], hidden=["is", "called", "ended"], links=links, height=4),
    ]


def costs():
    return [
        row("What it cost"),
        stat("CPU time", "Of the containers chosen, the runner's own among them, exact, however short they were.", f"sum({CPU_OF_ALL})", "s"),
        stat("Memory over time", f"GiB times seconds: each container's mean working set while it ran, by a value every {STEP}, times its life; where there is no such value, its peak. The job's span has it from every sample of the agent (`ephemon.memory.byte_seconds`).", f"sum({held()}) / {GIB}"),
        stat("Highest peak", "The highest memory use of any one container.", f"max({PEAK})", "bytes"),
        stat("Throttled", "Time in which containers waited for a CPU quota.", f"sum({once(C + 'cpu_cfs_throttled_seconds_total', SUMMED)})", "s"),
        stat("OOM kills", "Processes that the kernel killed for want of memory.", f"sum({once(C + 'memory_events_total', OOM)})", steps=RED),
        stat("At the prices given", "CPU time and memory over time, at the prices above. What the job used, not what it kept reserved.", money(f"sum({CPU_OF_ALL})", f"sum({held()})"), empty="no price"),
    ]


def times():
    gone = f"max by ({ONE}) ({C}end_time_seconds{{{F}}})"
    born = f"max by ({ONE}) ({C}start_time_seconds{{{F}}})"
    code = f"max by ({ONE}) ({C}exit_code{{{F}}})"
    state = f"(({born} unless {gone}) * 0) or (({code} > bool 0) + 1) or ({gone} * 0 + 3)"
    info = last(C + "info", F, f"{ONE}, container_type, image")
    quality = last(C + "final_quality_info", F, f"{ONE}, quality")
    reason = last(C + "exit_reason_info", F, f"{ONE}, exit_reason")
    first = f"scalar(min({last(C + 'start_time_seconds', P)}))"
    return [
        row("Its containers and steps in time"),
        timeline("Containers", "As the scrapes saw them: a container shorter than the scrape interval is only shown as ended, for up to five minutes. Exact times are in the table below and in the trace. The ten that used most CPU time.", most(state, CPU), NAME, STATES),
        table("Containers, with their times", "`after` counts from the pod's first container. `held`: GiB times seconds. `quality` says how the final values were obtained: exact, residual, residual_shared, or last_sample, a lower bound.", [
            ("is", info, "short"),
            ("of", quality, "short"),
            ("by", reason, "short"),
            ("started", f"{START} * 1000", "dateTimeAsIso"),
            ("after", f"{START} - {first}", "s"),
            ("lived", LIVED, "s"),
            ("CPU time", CPU, "s"),
            ("CPU limit", last(C + "cpu_limit_cores", F), "cores"),
            ("throttled", once(C + "cpu_cfs_throttled_seconds_total", F), "s"),
            ("held", f"{held()} / {GIB}", "short"),
            ("peak memory", PEAK, "bytes"),
            ("memory limit", last(C + "memory_limit_bytes", F), "bytes"),
            ("exit code", last(C + "exit_code", F), "short"),
        ], hidden=["is", "of", "by"], sort="started"),
        trace("Trace of the run", "All jobs of one run are one trace; this job's span is found by the name of its pod. From a span Grafana leads to its container's log and to what it used. Needs a Tempo that the agents' traces go to.", "$trace_id"),
        spans("Steps, with what each used", "From the trace: the steps of this job's pod. Needs a Tempo that the agents' traces go to.",
              '{ resource.k8s.pod.name = "$pod" && span.ephemon.step.kind != nil } | select(span.ephemon.step.kind, span.cicd.pipeline.task.run.result, '
              "span.process.exit.code, span.ephemon.cpu.seconds, span.ephemon.memory.peak.bytes, span.ephemon.memory.byte_seconds, span.k8s.container.name)"),
    ]


def curves():
    by_container = lambda family: f"sum by ({ONE}) ({rate(C + family, F)})"
    gauge = lambda family: running(C + family, F)
    ten = "The ten containers that used most."
    throttled = throttled_longest(F)
    return [
        row("What it used, over time"),
        lines("CPU used, and allowed", f"{ten} A container shorter than two scrapes has no rate; its total is in the table above.", [
            (most(by_container("cpu_usage_seconds_total"), CPU), NAME),
            (most(gauge("cpu_limit_cores"), CPU), "limit " + NAME),
        ], "cores"),
        lines("Working set, and limit", f"The working set is what the kubelet evicts by. {ten}", [
            (most(gauge("memory_working_set_bytes"), PEAK), NAME),
            (most(gauge("memory_limit_bytes"), PEAK), "limit " + NAME),
        ], "bytes"),
        lines("Throttled share of periods", "Periods of the quota in which it was used up. The ten containers that were throttled longest.", [
            (most(f"{by_container('cpu_cfs_throttled_periods_total')} / ({by_container('cpu_cfs_periods_total')} > 0)", throttled), NAME),
        ], "percentunit"),
        lines("Read and written", "Block devices, of all containers chosen.", [(f"sum by (operation) ({rate(C + 'io_bytes_total', SUMMED)})", "{{operation}}")], "Bps"),
    ]


def log():
    # Namespaces, pods and containers are labels of Loki's streams, or metadata of the lines: both are
    # found like this. A selector of streams alone would not find metadata.
    lines_of = '{k8s_namespace_name=~"$namespace"} | k8s_pod_name="$pod" | k8s_container_name=~"$container" |~ `(?i)$search`'
    about = "Lines of the selected containers that contain the searched text. The details of a line lead to its trace and to the run on GitHub. Needs a Loki to which the agents export their logs over OTLP."
    return [row("Its log"), log_lines("Log", about, lines_of)]


def job():
    info = J + "info"
    # A stream's selector may not match the empty text.
    namespace = variable("namespace", "Namespace", info, NODE, allValue=".+")
    names = ("organization", "repository", "workflow", "job_id", "run_id")
    titles = ("Organization", "Repository", "Workflow", "Job", "Run")
    variables = [
        source("loki", "Loki", "loki"),
        TRACES,
        *label_variables(C + "start_time_seconds", "namespace", "pod", "container"),
        variable("cluster", "Cluster", info),
        variable("node", "Node", info, CLUSTER),
        namespace,
        *(variable(name, title, info, before) for name, title, before in zip(names, titles, CHAIN)),
        one_value("pod", "Pod of the job", info, CHAIN[-1]),
        variable("container", "Container", C + "start_time_seconds", POD),
        one_value("trace_id", "", info, POD, hide=2),
        written("search", "Search the log", "", "A regular expression, in any case of letters."),
        *PRICES,
        GITHUB,
    ]
    panels = [*which(), *costs(), *times(), *curves(), *log()]
    return dashboard("ephemon-job", "ephemon / Job", "One job: its containers and steps in time, what they used and cost, its trace and its log.", panels, variables)

"""Jobs by repository and workflow: how they go, what they wait for, what they cost."""
from .families import CLUSTER, J, MOST, NAMESPACE, grown, last, most, rate
from .parts import RED, bars, dashboard, label_variables, lines, link, of_row, row, source, stat, table, to_board, to_job, to_trace, variable, written

ORGANIZATION = f'{NAMESPACE}, organization=~"$organization"'
R = f'{ORGANIZATION}, repository=~"$repository"'
# Of one kind of job; counts go on when an agent is started anew. Without the hook nothing but the
# namespace is known.
REPOSITORY = "$namespace_label, organization, repository"
KIND = "$namespace_label, organization, repository, workflow, job_id"
GIB = 1 << 30
QUANTILES = ((0.5, "median"), (0.95, "95 %"))
# Of the listener of actions-runner-controller: cmd/ghalistener/metrics/metrics.go there. Its series of
# jobs have the owner and the repository of the job, those of a scale set what the scale set is for.
ARC = f'{CLUSTER}, organization=~"$organization", repository=~"$repository"'
NEEDS_ARC = "Empty unless Prometheus scrapes the listeners of actions-runner-controller."
TRACES = source("tempo", "Tempo", "tempo")
GITHUB = written("github", "GitHub", "https://github.com", "Where runs are shown: another address for GitHub Enterprise Server or a host of data residency.")
PRICES = [
    written("cpu_price", "Price of a core for an hour", "0", "In any currency, such as a node's price shared out to its cores. 0: no money is shown."),
    written("memory_price", "Price of a GiB for an hour", "0", "In the same currency, of memory."),
]


def counted(family, by="", more=""):
    """A whole number: Prometheus draws an increase out to the ends of the time shown."""
    return f"round({grown(J + family, R + more, by)})"


def share(family, quantile):
    """By native histograms where the scrape has them, else by classic ones."""
    rates = [f"rate({J}{family}{ending}{{{R}}}[$__rate_interval])" for ending in ("", "_bucket")]
    return f"histogram_quantile({quantile}, sum({rates[0]})) or histogram_quantile({quantile}, sum by (le) ({rates[1]}))"


def shares(family):
    return [(share(family, quantile), word) for quantile, word in QUANTILES]


def money(cpu_seconds, byte_seconds):
    """At the prices given; nothing where there are none."""
    return f"({cpu_seconds} / 3600 * $cpu_price + {byte_seconds} / {GIB} / 3600 * $memory_price) > 0"


def at_github(tab=True):
    """To the run of a row. The attempt is not known of every job; without it GitHub shows the last one."""
    run = "/".join(["${github}", of_row("organization"), of_row("repository"), "actions/runs", of_row("run_id")])
    return link("The run on GitHub", run, tab)


def arc_share(family, quantile):
    """As `share`, of ARC's listener, whose buckets are classic ones."""
    return f"histogram_quantile({quantile}, sum by (le) (rate(gha_{family}_bucket{{{ARC}}}[$__rate_interval])))"


def queue():
    of_scale_sets = [("assigned_jobs", "jobs assigned"), ("running_jobs", "jobs running"), ("idle_runners", "idle runners"), ("desired_runners", "runners wanted"), ("max_runners", "most runners")]
    waiting = f"sum by (name) (max_over_time(gha_assigned_jobs{{{CLUSTER}}}[$__range]))"
    return [
        row("What jobs wait for"),
        lines("Queue: from a scale set to a runner", f"By ARC: from a job's assignment to the scale set until a runner has it. {NEEDS_ARC}", [
            (arc_share("job_startup_duration_seconds", quantile), word) for quantile, word in QUANTILES
        ], "s"),
        lines("Jobs and runners of all scale sets", f"By ARC. Jobs assigned above jobs running are waiting. {NEEDS_ARC}", [
            (f"sum(gha_{family}{{{CLUSTER}}})", word) for family, word in of_scale_sets
        ]),
        lines("Jobs that wait, by scale set", f"By ARC: assigned less running. The {MOST} scale sets that had most jobs. {NEEDS_ARC}", [
            (most(f"sum by (name) (gha_assigned_jobs{{{CLUSTER}}}) - sum by (name) (gha_running_jobs{{{CLUSTER}}})", waiting, "name"), "{{name}}"),
        ]),
        lines("Wait for kubelet and image", "From the request for a container of a job to its cgroup.", shares("container_wait_duration_seconds"), "s"),
        lines("Pulls of images", "Where the runner's account may list events.", shares("image_pull_duration_seconds"), "s"),
        lines("Until a container's program runs", "From its cgroup on.", shares("container_start_duration_seconds"), "s"),
    ]


def costs():
    cpu = lambda by: grown(J + "cpu_usage_seconds_total", R, by)
    memory = lambda by: grown(J + "memory_byte_seconds_total", R, by)
    io = lambda by: grown(J + "io_bytes_total", R, by)
    rows = 50

    def columns(by):
        of = lambda expr: f"({expr}) and on ({by}) topk({rows}, {cpu(by)})"
        return [
            ("CPU time", f"topk({rows}, {cpu(by)})", "s"),
            ("GiB times seconds", of(f"{memory(by)} / {GIB}"), "short"),
            ("read and written", of(io(by)), "bytes"),
            ("jobs over", of(counted("completed_total", by)), "short"),
            ("OOM kills", of(counted("oom_kills_total", by)), "short"),
            ("at the prices given", of(money(cpu(by), memory(by))), "short"),
        ]

    most_used = f"The {rows} that used most CPU time. Memory is what containers held, over time. The last column needs prices, above."
    names = ("namespace", "organization", "repository")
    of_kind = {name: of_row(name) for name in (*names, "workflow", "job_id")}
    this = to_board("ephemon-jobs", "Its jobs here", **{name: of_row(name) for name in names})
    return [
        row("What jobs cost, in the time shown"),
        table("Cost by repository", f"{most_used} The name of a repository links to its jobs here.", columns(REPOSITORY), links={"repository": [this]}, sort="-CPU time"),
        table("Cost by kind of job", f"{most_used} The job's key links to its runs.", columns(KIND), links={"job_id": [to_board("ephemon-job", "Its runs", **of_kind)]}, sort="-CPU time"),
        bars("Steps by result", "Steps of jobs that are over.", counted("steps_total", "result"), "{{result}}"),
        bars("Jobs by result", "Jobs that are over.", counted("completed_total", "result"), "{{result}}"),
    ]


def shown():
    info = last(J + "info", R, f"$pod_label, {KIND}, run_id, run_attempt, event_name, trace_id")
    named = last(J + "name_info", R, f"$pod_label, {KIND}, job_name")
    ended = last(J + "result_info", R, f"$pod_label, {KIND}, result")
    links = {"pod": [to_job()], "run_id": [at_github()], "trace_id": [to_trace()]}
    return [
        row("Jobs in the time shown"),
        table("Jobs", "Under way and ended. The name of a pod links to the job's dashboard, the run to GitHub, the trace id to the trace. `job_name` needs the runner's log.", [
            ("is", info, "short"),
            ("called", named, "short"),
            ("ended", ended, "short"),
        ], hidden=["is", "called", "ended"], links=links, height=14),
    ]


def jobs():
    failed = counted("completed_total", more=', result!~"success|skip"')
    panels = [
        row("In the time shown"),
        stat("Jobs begun", "Jobs of which the agents have seen the first container.", counted("started_total")),
        stat("Jobs over", "Jobs that ended, however they did.", counted("completed_total")),
        stat("Of these not well", "Failure, error, timeout or cancellation.", failed),
        stat("CPU time", "Of jobs' containers.", f"sum(increase({J}cpu_usage_seconds_total{{{R}}}[$__range]))", "s"),
        stat("OOM kills", "Processes of jobs that the kernel killed for want of memory.", counted("oom_kills_total"), steps=RED),
        stat("Steps", "Steps of jobs that are over.", counted("steps_total")),
        row("How jobs go"),
        lines("Jobs by result", "An hour.", [(f"sum by (result) ({rate(J + 'completed_total', R)}) * 3600", "{{result}}")], width=8, stack=True),
        lines("How long jobs take", "From the first sign of a job to the last. Exemplars lead to the jobs' traces.", shares("duration_seconds"), "s", width=8, exemplars=True),
        lines("Highest memory use of containers", "Of each of a job's containers.", shares("container_memory_peak_bytes"), "bytes", width=8),
        *costs(),
        *queue(),
        *shown(),
    ]
    variables = [
        TRACES,
        *label_variables(J + "info", "namespace", "pod"),
        variable("cluster", "Cluster", J + "started_total"),
        variable("namespace", "Namespace", J + "started_total", CLUSTER),
        variable("organization", "Organization", J + "started_total", NAMESPACE),
        variable("repository", "Repository", J + "started_total", ORGANIZATION),
        *PRICES,
        GITHUB,
    ]
    return dashboard("ephemon-jobs", "ephemon / Jobs", "Jobs by repository and workflow: results, times, costs.", panels, variables)

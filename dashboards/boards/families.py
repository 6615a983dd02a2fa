"""Our families in PromQL: how each is asked for the time shown, and which curves of many are shown."""

C = "ephemon_container_"
J = "ephemon_job_"
# Of one container; scrapes by several Prometheis, and agents that were replaced, fall together.
ONE = "$namespace_label, $pod_label, $container_label"
NAMED = "{{$pod_label}} {{$container_label}}"
CLUSTER = 'cluster=~"$cluster"'
NAMESPACE = f'{CLUSTER}, $namespace_label=~"$namespace"'
POD = f'{NAMESPACE}, $pod_label=~"$pod"'
# A panel with more curves than this of containers, pods, agents or namespaces cannot be read.
MOST = 10


def once(family, matchers, by=ONE):
    """A counter's last word in the time shown, ended containers included: one value each."""
    return f"max by ({by}) (max_over_time({family}{{{matchers}}}[$__range]))"


def last(family, matchers, by=ONE):
    """A gauge's last word in the time shown, one value each."""
    return f"max by ({by}) (last_over_time({family}{{{matchers}}}[$__range]))"


def running(family, matchers):
    """A gauge of each container that runs: one that ended is shown with its last value for some minutes."""
    return f"max by ({ONE}) ({family}{{{matchers}}}) unless on ({ONE}) max by ({ONE}) ({C}end_time_seconds{{{matchers}}})"


def of_running(family, matchers):
    """The sum of a gauge over the containers that run; 0 where none does."""
    return f"sum({running(family, matchers)}) or 0 * sum({family}{{{matchers}}})"


def rate(family, matchers):
    return f"rate({family}{{{matchers}}}[$__rate_interval])"


def grown(family, matchers, by):
    """By how much counters grew in the time shown."""
    return f"sum by ({by}) (increase({family}{{{matchers}}}[$__range]))"


def at_end(expr):
    """The same at each point of a curve: as it is at the end of the time shown."""
    return expr.replace("[$__range]", "[$__range] @ end()")


def throttled_longest(matchers):
    """For a ranking: containers with a quota, by how long they waited for it."""
    periods = once(C + "cpu_cfs_periods_total", matchers)
    return f"{once(C + 'cpu_cfs_throttled_seconds_total', matchers)} and on ({ONE}) {periods} > 0"


def most(expr, rank, by=ONE):
    """Of the curves of `expr` those whose `rank` is the highest at the end of the time shown. Ranked at each
    point for itself, there could be any number of them."""
    return f"({expr}) and on ({by}) topk({MOST}, {at_end(rank)})"

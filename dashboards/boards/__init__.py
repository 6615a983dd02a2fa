"""Grafana dashboards: one file a dashboard, as lists of panels."""
from .agent import agent
from .containers import containers
from .fleet import fleet
from .job import job
from .jobs import jobs
from .logs import logs

ALL = {"agent": agent, "containers": containers, "fleet": fleet, "job": job, "jobs": jobs, "logs": logs}

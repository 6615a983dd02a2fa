//! The one integration-test binary: ephemon on real parts.
//!
//! `support` drives the parts; every other module is a set of scenarios, and `tidy` holds the
//! source tree's own rules. A scenario that needs a part which is not there says so and passes;
//! with `CI` set it fails instead.

#[cfg(test)]
mod advice;
#[cfg(test)]
mod agent_start;
#[cfg(test)]
mod api_stand_in;
#[cfg(test)]
mod api_streams;
#[cfg(test)]
mod api_watch;
#[cfg(test)]
mod attached;
#[cfg(test)]
mod cgroup_v2;
#[cfg(test)]
mod churn;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod conventions;
mod crun;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod embedded_against_real;
#[cfg(test)]
mod executables;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod hook;
#[cfg(test)]
mod hook_in_pods;
#[cfg(test)]
mod init;
#[cfg(test)]
mod install;
#[cfg(test)]
mod jaeger;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod kubelet_pod;
#[cfg(test)]
mod kubelet_stand_in;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod metric_reference;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod otlp;
#[cfg(test)]
mod otlp_metrics;
#[cfg(test)]
mod own_traces;
#[cfg(test)]
mod page;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod runtime_events;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod workflows;

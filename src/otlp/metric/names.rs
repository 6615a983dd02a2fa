//! Names of metrics, by the one table of agent and hook.

pub(super) use ephemon_otel::conventions::metric::*;

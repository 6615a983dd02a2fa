//! The agent: arguments, wiring and supervision, admin HTTP.

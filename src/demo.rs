//! The embedded node: an API stand-in and a kubelet stand-in for the demo and the tests.

pub mod api;

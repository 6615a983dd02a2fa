//! The hook and init where they are to work: called by a runner in its pod, in containers of
//! containerd, with several images.

mod failures;
mod images;
mod kubelet;
mod memory;
mod neighbours;
mod runner;
mod services;
mod site;
mod users;
mod volumes;

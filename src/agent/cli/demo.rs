//! `ephemon demo`: replaces this process by the demo program in the same directory.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The demo's program. It contains the embedded node, which an agent on a cluster's node does not
/// need.
const PROGRAM: &str = "ephemon-demo";

/// Run ephemeral containers on this machine, without a cluster, and watch the agent see them all
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Demo {
    /// Options of the demo; `ephemon demo --help` lists them
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// This program's own path is not known.
    #[error("cannot find this program's own file: {0}")]
    OwnFile(io::Error),
    /// The program cannot be started.
    #[error(
        "cannot run {}: {source}. The demo is a program of its own beside this one: \
         `cargo build --release` builds both; images and release archives do not contain it",
        path.display()
    )]
    Start {
        /// The expected path.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
}

// === impl Demo ===

impl Demo {
    /// Replaces this process by the demo; returns only if that fails.
    pub(super) fn run(&self) -> Result<Infallible, Error> {
        let path = std::env::current_exe().map_err(Error::OwnFile)?.with_file_name(PROGRAM);
        let source = Command::new(&path).args(&self.options).exec();
        Err(Error::Start { path, source })
    }
}

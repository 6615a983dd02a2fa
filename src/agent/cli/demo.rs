//! `ephemon demo`: the program beside this one becomes of it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The demo's program. It holds the embedded node, which no agent on a cluster's node needs.
const PROGRAM: &str = "ephemon-demo";

/// Run ephemeral containers on this machine, without a cluster, and watch the agent see them all
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Demo {
    /// Options of the demo; `ephemon demo --help` lists them
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// There is no demo here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// This program's own path is not known.
    #[error("cannot find this program's own file: {0}")]
    OwnFile(io::Error),
    /// It cannot be started.
    #[error(
        "cannot run {}: {source}. The demo is a program of its own beside this one: \
         `cargo build --release` makes both; images and release archives do not have it",
        path.display()
    )]
    Start {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

// === impl Demo ===

impl Demo {
    /// Does not return where there is a demo: this process becomes it.
    pub(super) fn run(&self) -> Result<Infallible, Error> {
        let path = std::env::current_exe().map_err(Error::OwnFile)?.with_file_name(PROGRAM);
        let source = Command::new(&path).args(&self.options).exec();
        Err(Error::Start { path, source })
    }
}

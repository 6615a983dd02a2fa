//! The commands of `kubectl ephemon`, which `ephemon` has, too: what runs in a cluster's jobs, what it
//! uses, and why a job is slow.
//!
//! Each command is a file: it asks the agents by `ephemon-client`, and prints. What is printed is made by
//! pure parts: `table` and `tree` of cells, `spark` of samples, `reasons` of a job's figures. `text` makes
//! texts of values, and signs of hidden characters: every text of jobs goes through it. `screen` knows
//! whether there is a terminal, and its colours.

mod completion;
mod cut;
mod failure;
mod job;
mod jobs;
mod logs;
mod patience;
mod reasons;
mod screen;
mod spark;
mod table;
mod text;
mod top;
mod tree;
mod ui;
mod why;

use ephemon_client::{Fleet, Source};

pub use completion::candidates;
pub use failure::Failure;

/// Commands that look into a cluster's jobs.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Show what the jobs under way use now, the largest first
    Top(top::Top),
    /// List the jobs of all nodes: those under way, and those that ended within the last hour
    Jobs(jobs::Jobs),
    /// Show a job's steps and containers with what each used
    Job(job::Show),
    /// Print the last lines of a job's logs, masked
    Logs(logs::Logs),
    /// Say why a job is slow: throttling, memory at its limit, pulls, waits, pressure, disks
    Why(why::Why),
    /// Serve the job page of all nodes on this machine, for a browser
    Ui(ui::Ui),
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

// === impl Command ===

impl Command {
    /// Which agents have the job that the command names; `None` of a command that names none.
    pub fn source_of_job(&self) -> Option<&Source> {
        match self {
            Self::Job(command) => Some(&command.source),
            Self::Logs(command) => Some(&command.source),
            Self::Why(command) => Some(&command.source),
            Self::Top(_) | Self::Jobs(_) | Self::Ui(_) => None,
        }
    }

    /// Does what the command says. What could not be asked is told on standard error on the way.
    ///
    /// # Errors
    /// If there is nothing to print, and why.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Top(command) => command.run().await,
            Self::Jobs(command) => command.run().await,
            Self::Job(command) => command.run().await,
            Self::Logs(command) => command.run().await,
            Self::Why(command) => command.run().await,
            Self::Ui(command) => command.run().await,
        }
    }
}

async fn connect(source: &Source) -> Result<Fleet, Failure> {
    Ok(Fleet::connect(source).await?)
}

//! `ephemon report`: asks the agent that has a job, and writes the job's report.

use std::io;
use std::path::{Path, PathBuf};

use ephemon_base::visible;
use ephemon_client::{ClusterError, FindError, Fleet, Source};
use ephemon_report::{Record, html, markdown};

/// Write a report of a job: one HTML file, or Markdown with a timeline
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
WHAT IT NEEDS
  An agent that serves its job page (--page jobs or logs); it knows the jobs that run, and those that \
  ended within the last hour. Log lines are those that the agent serves to this client, masked.

EXAMPLES
  kubectl ephemon report arc-runners/big-x7k2p-runner-9b8cd --html report.html
  ephemon report 14460881260 --agent http://localhost:9911 --markdown - >> \"$GITHUB_STEP_SUMMARY\"")]
#[command(group = clap::ArgGroup::new("form").required(true).args(["html", "markdown"]))]
pub(super) struct Args {
    /// The job: its pod (also NAMESPACE/POD), its id, or a run of one job
    #[arg(value_name = "POD|JOB")]
    job: String,

    /// Write one HTML file that needs nothing else; `-` is standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write Markdown, with a timeline that GitHub draws; `-` is standard output
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    #[command(flatten)]
    pub(super) source: Source,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No agents are found.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No such job, or several.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The agent does not answer.
    #[error("node {}: {source}", visible(node))]
    Agent {
        /// Its node.
        node: String,
        /// Why not.
        source: ephemon_client::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The text to print.
pub(super) async fn run(args: &Args) -> Result<String, Error> {
    let record = record(args).await?;
    let mut printed = String::new();
    let forms = [
        (args.html.as_deref(), html as fn(&Record) -> String),
        (args.markdown.as_deref(), markdown),
    ];
    for (file, form) in forms {
        match file {
            None => {}
            Some(file) if file == Path::new("-") => printed.push_str(&form(&record)),
            Some(file) => write(file, &form(&record))?,
        }
    }
    Ok(printed)
}

/// All of it or nothing: a report that is half written would look like a short job.
fn write(file: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: file.to_owned(), source };
    let is_special = file.symlink_metadata().is_ok_and(|it| !it.is_file());
    if is_special {
        return std::fs::write(file, text).map_err(failed);
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let done = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
    if done.is_err() {
        std::fs::remove_file(&part).ok();
    }
    done.map_err(failed)
}

async fn record(args: &Args) -> Result<Record, Error> {
    let fleet = Fleet::connect(&args.source).await?;
    let (found, troubles) = fleet.find_one(&args.job).await;
    for trouble in troubles {
        warn(&trouble.to_string());
    }
    let found = found?;
    let (id, agent) = (&found.summary.id, &found.agent);
    let failed = |source| Error::Agent { node: found.node.clone(), source };
    let job = agent.job(id).await.map_err(failed)?;
    let samples = agent.samples(id, 0).await.map_err(failed)?;
    let log = agent.log(id, 0, None).await.map_err(failed)?;
    Ok(Record::new(job, samples, log))
}

#[expect(clippy::print_stderr, reason = "a node that could not be asked may have the job")]
fn warn(what: &str) {
    eprintln!("ephemon: {what}");
}

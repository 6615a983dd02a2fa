//! `ephemon report`: asks the agent that has a job, and writes the job's report.

use std::io;
use std::path::{Path, PathBuf};

use ephemon_base::visible;
use ephemon_client::{Agent, ClusterError, FindError, Fleet, Source};
use ephemon_report::{Record, RecordError, html, markdown};

/// Write a report of a job: one HTML file, or Markdown with a timeline
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
WHAT IT NEEDS
  An agent that serves its job page (--page jobs or logs); it knows the jobs that run, and those that
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
    source: Source,
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
    /// It refuses.
    #[error("node {}: status {status} for {path}", visible(node))]
    Refused {
        /// Its node.
        node: String,
        /// The status.
        status: u16,
        /// What was asked for.
        path: String,
    },
    /// Its answer is of no use.
    #[error("node {}: {source}", visible(node))]
    Answer {
        /// Its node.
        node: String,
        /// The cause.
        source: RecordError,
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
    // The agent's own word, which is no path until it is known to be an id.
    let id = &found.summary.id;
    let is_id = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
    if !id.bytes().all(is_id) {
        return Err(FindError::None(visible(id), "").into());
    }
    let agent = &found.agent;
    let job = get(agent, format!("jobs/{id}")).await?;
    let samples = get(agent, format!("jobs/{id}/samples")).await?;
    let log = get(agent, format!("jobs/{id}/log")).await?;
    let unusable = |source| Error::Answer { node: found.node.clone(), source };
    Record::parse(&job, &samples, &log).map_err(unusable)
}

async fn get(agent: &Agent, path: String) -> Result<Vec<u8>, Error> {
    let node = || agent.name().to_owned();
    let answer = agent.get(&path).await;
    let answer = answer.map_err(|source| Error::Agent { node: node(), source })?;
    if answer.status != 200 {
        return Err(Error::Refused { node: node(), status: answer.status, path });
    }
    Ok(answer.body.into())
}

#[expect(clippy::print_stderr, reason = "a node that could not be asked may have the job")]
fn warn(what: &str) {
    eprintln!("ephemon: {what}");
}

//! `job`: one job's steps and containers, once or for as long as it runs.

use std::time::{Duration, Instant};

use ephemon_client::{Error, Job, Listed, Samples, Source, Trouble};
use serde::Serialize;

use crate::failure::Failure;
use crate::screen::{Screen, print, print_json, tell};
use crate::text::name;
use crate::{Format, connect, tree};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Samples are asked for less often: they are the larger part.
const SAMPLES_INTERVAL: Duration = Duration::from_secs(3);
/// Most jobs of a run that are printed.
const JOB_LIMIT: usize = 32;

/// Show a job's steps and containers with what each used
#[derive(Debug, Clone, clap::Args)]
pub struct Show {
    /// The job: its pod (also NAMESPACE/POD), its id, or a run, whose jobs are all shown
    #[arg(value_name = "RUN|POD|ID")]
    job: String,

    /// Keep showing it until it is over
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,

    #[command(flatten)]
    source: Source,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Format,
}

/// What programs get.
#[derive(Serialize)]
struct Answer {
    jobs: Vec<Parts>,
}

/// A job with the samples of its containers.
#[derive(Debug, Serialize)]
pub(crate) struct Parts {
    pub(crate) job: Job,
    pub(crate) samples: Samples,
}

// === impl Show ===

impl Show {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.watch {
            return self.follow().await;
        }
        let jobs = parts(&self.source, &self.job).await?;
        if self.output == Format::Json {
            return print_json(&Answer { jobs });
        }
        let screen = Screen::new();
        let texts: Vec<_> =
            jobs.iter().map(|one| tree::text(&one.job, &one.samples, screen)).collect();
        print(&texts.join("\n"))
    }

    /// Draws it again and again until it is over.
    async fn follow(self) -> Result<(), Failure> {
        let (found, troubles) = connect(&self.source).await?.find_one(&self.job).await;
        tell(&troubles);
        let listed = found?;
        let screen = Screen::new();
        screen.clear()?;
        let (mut samples, mut asked, mut drawn) = (Samples::default(), None, String::new());
        loop {
            let job = job_of(&listed).await?;
            let is_over = job.summary.ending.is_over();
            let is_due = asked.is_none_or(|at: Instant| at.elapsed() >= SAMPLES_INTERVAL);
            if is_due || is_over {
                (samples, asked) = (samples_of(&listed).await?, Some(Instant::now()));
            }
            let picture = tree::text(&job, &samples, screen);
            if is_over {
                // All of it, also what the terminal has no room for.
                screen.clear()?;
                return print(&picture);
            }
            if picture != drawn {
                screen.draw(&picture)?;
                drawn = picture;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The jobs that a word means, with all that their agents know. Nodes that are missing, and jobs of
/// a run that are, are told on standard error.
pub(crate) async fn parts(source: &Source, wanted: &str) -> Result<Vec<Parts>, Failure> {
    let (found, mut troubles) = connect(source).await?.find(wanted).await;
    let (mut parts, mut failure) = (Vec::new(), None);
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tell(&troubles);
            return Err(error.into());
        }
    };
    for (at, listed) in found.iter().enumerate() {
        let node = listed.node.clone();
        if at == JOB_LIMIT {
            let more = found.len().saturating_sub(JOB_LIMIT);
            let why = format!("{more} more jobs of {} are not shown", name(wanted));
            troubles.push(Trouble { node, why });
            break;
        }
        match both(listed).await {
            Ok(both) => parts.push(both),
            Err(error) => {
                let why = format!("{}: {error}", name(&listed.summary.pod));
                troubles.push(Trouble { node: node.clone(), why });
                failure = Some(Failure::of(&node)(error));
            }
        }
    }
    match failure {
        Some(failure) if parts.is_empty() => Err(failure),
        _ => {
            tell(&troubles);
            Ok(parts)
        }
    }
}

async fn both(listed: &Listed) -> Result<Parts, Error> {
    let id = &listed.summary.id;
    let (job, samples) = (listed.agent.job(id).await?, listed.agent.samples(id, 0).await?);
    Ok(Parts { job, samples })
}

async fn job_of(listed: &Listed) -> Result<Job, Failure> {
    listed.agent.job(&listed.summary.id).await.map_err(Failure::of(&listed.node))
}

async fn samples_of(listed: &Listed) -> Result<Samples, Failure> {
    listed.agent.samples(&listed.summary.id, 0).await.map_err(Failure::of(&listed.node))
}

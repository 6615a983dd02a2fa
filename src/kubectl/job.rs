//! `job`: one job's steps and containers, once or for as long as it runs.

use std::time::{Duration, Instant};

use ephemon_client::{Job, Samples, Source, Trouble};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::failure::Failure;
use crate::patience::Patience;
use crate::screen::{Screen, print, print_json, tell, warn};
use crate::text::name;
use crate::{Format, connect, tree};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Samples are asked for less often: they are the larger part.
const SAMPLES_INTERVAL: Duration = Duration::from_secs(3);
/// Most jobs of a run that are printed.
const JOB_LIMIT: usize = 32;
/// Jobs that are asked for at one time.
const AT_ONCE: usize = 8;

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
    pub(crate) source: Source,

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
        let mut patience = Patience::default();
        loop {
            let (id, agent) = (&listed.summary.id, &listed.agent);
            let Some(job) = patience.wait(agent.job(id).await, &listed)? else {
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            };
            let is_over = job.summary.ending.is_over();
            let is_due = asked.is_none_or(|at: Instant| at.elapsed() >= SAMPLES_INTERVAL);
            if (is_due || is_over)
                && let Some(new) = patience.wait(agent.samples(id, 0).await, &listed)?
            {
                (samples, asked) = (new, Some(Instant::now()));
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

/// The jobs that a word means, with all that their agents know. What is missing is named on standard
/// error.
pub(crate) async fn parts(source: &Source, wanted: &str) -> Result<Vec<Parts>, Failure> {
    let (found, troubles) = connect(source).await?.find(wanted).await;
    tell(&troubles);
    let found = found?;
    let left = found.len().saturating_sub(JOB_LIMIT);
    let asked = found.into_iter().take(JOB_LIMIT).map(|listed| async move {
        let (id, agent) = (&listed.summary.id, &listed.agent);
        match (agent.job(id).await, agent.samples(id, 0).await) {
            (Ok(job), Ok(samples)) => Ok(Parts { job, samples }),
            (Err(error), _) | (_, Err(error)) => Err((listed, error)),
        }
    });
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let (mut parts, mut failed) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(one) => parts.push(one),
            Err((listed, error)) => {
                let node = listed.node.clone();
                let job = name(&listed.summary.name);
                tell(&[Trouble { node, why: format!("job {job} is left out: {error}") }]);
                failed = Some(Failure::of(&listed.node)(error));
            }
        }
    }
    if left > 0 {
        warn(&format!("{left} more jobs are left out: at most {JOB_LIMIT} are shown; name one"));
    }
    match failed {
        Some(failure) if parts.is_empty() => Err(failure),
        _ => Ok(parts),
    }
}

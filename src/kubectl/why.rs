//! `why`: what may make a job slow, the most severe first.

use ephemon_client::Source;

use crate::failure::Failure;
use crate::job::{Parts, parts};
use crate::reasons::Findings;
use crate::screen::{Screen, Tone, print};
use crate::text::{name, result};

/// Say why a job is slow: throttling, memory at its limit, pulls, waits, pressure, disks
#[derive(Debug, Clone, clap::Args)]
pub struct Why {
    /// The job: its pod (also NAMESPACE/POD), its id, or a run, whose jobs are all looked at
    #[arg(value_name = "POD|JOB")]
    job: String,

    #[command(flatten)]
    pub(crate) source: Source,
}

// === impl Why ===

impl Why {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let screen = Screen::new();
        let jobs = parts(&self.source, &self.job).await?;
        let texts: Vec<_> = jobs.iter().map(|one| text(one, screen)).collect();
        print(&texts.join("\n"))
    }
}

fn text(Parts { job, samples }: &Parts, screen: Screen) -> String {
    let findings = Findings::of(job, samples);
    let of = &job.summary;
    let title = screen.paint(Tone::Strong, &name(&of.name));
    let ending = screen.paint(Tone::of_result(&of.ending.result), &result(&of.ending));
    let mut lines = vec![format!(
        "{title}  {ending}  {}/{} on {}",
        name(&of.namespace),
        name(&of.pod),
        name(&job.node)
    )];
    if findings.reasons.is_empty() {
        lines.push(match &*findings.clean {
            "" => "Nothing is known that could stand out.".to_owned(),
            clean => format!("Nothing stands out: {clean}."),
        });
    }
    for (at, reason) in findings.reasons.iter().enumerate() {
        lines.push(format!("{}. {}", at + 1, screen.paint(Tone::Warning, &reason.fact)));
        lines.push(format!("   {}", reason.advice));
    }
    lines.extend(findings.longest_step);
    if !findings.unknown.is_empty() {
        let unknown = format!("Not known: {}.", findings.unknown.join(", "));
        lines.push(screen.paint(Tone::Quiet, &unknown));
    }
    lines.join("\n") + "\n"
}

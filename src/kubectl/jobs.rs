//! `jobs`: the jobs of all nodes.

use ephemon_client::{Listed, Listing, Source, Trouble};
use serde::Serialize;

use crate::failure::Failure;
use crate::screen::{Screen, Tone, print, print_json, tell};
use crate::table::{Cell, Table};
use crate::text::{age, bytes, cpu_time, duration, known, name, result};
use crate::{Format, connect};

/// List the jobs of all nodes: those under way, and those that ended within the last hour
#[derive(Debug, Clone, clap::Args)]
pub struct Jobs {
    #[command(flatten)]
    source: Source,

    /// How they are printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Format,
}

/// What programs get.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    jobs: &'a [Listed],
    /// Jobs for which agents had no room.
    left_out: u64,
    /// Nodes whose jobs are missing.
    unreachable: &'a [Trouble],
}

// === impl Jobs ===

impl Jobs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let listing = listing(&self.source).await?;
        match self.output {
            Format::Json => print_json(&Answer {
                jobs: &listing.jobs,
                left_out: listing.left_out,
                unreachable: &listing.troubles,
            }),
            Format::Text => print(&text(&listing, Screen::new())),
        }
    }
}

/// The jobs of all agents. Nodes that are missing are named on standard error.
pub(crate) async fn listing(source: &Source) -> Result<Listing, Failure> {
    let listing = connect(source).await?.jobs().await;
    tell(&listing.troubles);
    if listing.answered == 0 { Err(Failure::Silence) } else { Ok(listing) }
}

fn text(listing: &Listing, screen: Screen) -> String {
    if listing.jobs.is_empty() && listing.left_out == 0 {
        return "No job has run within the last hour.\n".into();
    }
    let heads =
        ["RESULT", "JOB", "REPOSITORY", "RUN", "POD", "NODE", "AGE>", "TOOK>", "CPU>", "PEAK>"];
    let mut table = Table::new(&heads);
    for job in &listing.jobs {
        table.add(row(job));
    }
    let mut text = table.text(screen);
    if listing.left_out > 0 {
        text = format!(
            "{text}{} more are not listed: agents have no room for them\n",
            listing.left_out
        );
    }
    text
}

fn row(job: &Listed) -> Vec<Cell> {
    let Listed { summary: of, now_unix_ms: now, .. } = job;
    let start = of.span.start_unix_ms;
    vec![
        Cell::new(result(&of.ending)).tone(Tone::of_result(&of.ending.result)),
        Cell::new(name(&of.name)).tone(Tone::Strong),
        Cell::new(known(of.repository.as_deref(), name)),
        Cell::new(known(of.run_id.as_deref(), name)),
        Cell::new(format!("{}/{}", name(&of.namespace), name(&of.pod))),
        Cell::new(name(&job.node)),
        Cell::number(age(now.saturating_sub(start))),
        Cell::number(duration(of.span.millis(*now))),
        Cell::number(known(of.usage.cpu_seconds, cpu_time)),
        Cell::number(known(of.usage.memory_peak_bytes, bytes)),
    ]
}

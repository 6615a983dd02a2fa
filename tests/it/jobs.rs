//! Jobs through the real agent, on a node of plain files: counted once, sent once, whatever is
//! killed, however long they are and however many.

mod crowd;
mod flood;
mod kills;
mod kubectl;
mod many;
mod page;
mod points;
mod runner_steps;
mod runner_waits;
mod runners;
mod sink;
mod steps;

use std::thread;
use std::time::Duration;

use crate::support::agent::{Agent, TEXT};
use crate::support::process::until;

const PATIENCE: Duration = Duration::from_mins(2);

/// A family's series together.
fn counted(agent: &Agent, family: &str) -> usize {
    let page = agent.get("/metrics", TEXT).body;
    let series = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

/// Waits until they come to that much. Looks as a scraper does, whose interval is longer than the
/// agent's looks at jobs: a container that was fetched twice is forgotten.
fn until_counted(agent: &Agent, family: &str, count: usize) {
    let so = || {
        thread::sleep(Duration::from_millis(600));
        (counted(agent, family) >= count).then_some(())
    };
    until(PATIENCE, so).unwrap_or_else(|| {
        panic!("{family} is not {count}:\n{}\n{}", agent.get("/metrics", TEXT).body, agent.log())
    });
}

//! `logs`: the last lines of a job, masked as they are exported, and those that come.

use std::time::Duration;

use ephemon_client::{Error, Line, Listed, Log, Source};

use crate::connect;
use crate::failure::Failure;
use crate::patience::Patience;
use crate::screen::{Screen, Tone, print, tell};
use crate::text::name;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks after the job's end: its last lines come later.
const LAST_LOOKS: usize = 3;

/// Print the last lines of a job's logs, masked
#[derive(Debug, Clone, clap::Args)]
pub struct Logs {
    /// The job: its pod (also NAMESPACE/POD), its id, or a run of one job
    #[arg(value_name = "RUN|POD|ID")]
    job: String,

    /// Only lines of this container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,

    /// Print lines as they come, until the job is over
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    pub(crate) source: Source,
}

// === impl Logs ===

impl Logs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (found, troubles) = connect(&self.source).await?.find_one(&self.job).await;
        tell(&troubles);
        let (listed, screen) = (found?, Screen::new());
        let log = self.ask(&listed, 0).await.map_err(Failure::of(&listed.node))?;
        let mut after = self.show(&listed, &log, false, screen)?;
        let (mut looks_left, mut patience) = (LAST_LOOKS, Patience::default());
        while self.follow && looks_left > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let log = match self.ask(&listed, after).await {
                // It was there: it ended an hour ago, or its agent was replaced after its end.
                Err(Error::NoJob) => return Ok(()),
                answer => patience.wait(answer, &listed)?,
            };
            let Some(log) = log else { continue };
            after = self.show(&listed, &log, true, screen)?;
            match listed.agent.job(&listed.summary.id).await {
                Ok(job) if !job.summary.ending.is_over() => {}
                Ok(_) | Err(Error::NoJob) => looks_left = looks_left.saturating_sub(1),
                Err(error) => drop(patience.wait::<()>(Err(error), &listed)?),
            }
        }
        Ok(())
    }

    async fn ask(&self, listed: &Listed, after: u64) -> Result<Log, Error> {
        listed.agent.log(&listed.summary.id, after, self.container.as_deref()).await
    }

    /// Prints lines; the number of the last one.
    fn show(
        &self,
        listed: &Listed,
        log: &Log,
        is_more: bool,
        screen: Screen,
    ) -> Result<u64, Failure> {
        if log.served {
            print(&self.text(log, is_more, screen))?;
            return Ok(log.next_after);
        }
        let why = name(log.reason.as_deref().unwrap_or("the agent does not say why"));
        Err(Failure::NoLog { node: listed.node.clone(), why })
    }

    /// The lines; with their containers' names, unless only one is wanted.
    fn text(&self, log: &Log, is_more: bool, screen: Screen) -> String {
        let mut text = String::new();
        if log.left_out > 0 {
            let which = if is_more { "" } else { "earlier " };
            let left = format!("… {} {which}lines are not kept", log.left_out);
            text = screen.paint(Tone::Quiet, &left) + "\n";
        }
        log.lines.iter().fold(text, |text, line| text + &self.line(line, screen) + "\n")
    }

    fn line(&self, line: &Line, screen: Screen) -> String {
        let tone = match line.severity.as_deref() {
            Some("error") => Tone::Bad,
            Some("warning") => Tone::Warning,
            Some("debug") => Tone::Quiet,
            _ => Tone::Plain,
        };
        let mut text = screen.paint(tone, &ephemon_base::visible(&line.text));
        if line.cut_bytes > 0 {
            text.push_str(&screen.paint(Tone::Quiet, &format!("… {} bytes more", line.cut_bytes)));
        }
        match self.container {
            Some(_) => text,
            None => format!(
                "{} {text}",
                screen.paint(Tone::Quiet, &format!("{}:", name(&line.container)))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(container: Option<&str>) -> Logs {
        let container = container.map(str::to_owned);
        Logs { job: "j".into(), container, follow: false, source: Source::default() }
    }

    #[test]
    fn lines_are_harmless_and_name_their_container() {
        let line = Line {
            container: "job\u{1b}".into(),
            text: "a\tb\u{1b}[2J\u{202e}".into(),
            cut_bytes: 7,
            ..Line::default()
        };
        let log = Log { lines: vec![line], left_out: 2, ..Log::default() };
        let text = |container| logs(container).text(&log, false, Screen::plain());
        assert_eq!(
            text(None),
            "… 2 earlier lines are not kept\njob␛: a\tb␛[2J‹U+202E›… 7 bytes more\n"
        );
        assert!(text(Some("job")).ends_with("\na\tb␛[2J‹U+202E›… 7 bytes more\n"));
    }
}

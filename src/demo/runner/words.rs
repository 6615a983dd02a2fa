//! The runner's own standard output, which is its container's log.
//!
//! Source: actions/runner v2.336.0, `src/Runner.Listener/JobDispatcher.cs`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tokio::time::sleep;

use super::Runner;

/// How long the runner's container may take to open its end of the pipe.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The result of a job, in the runner's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Conclusion {
    #[default]
    Succeeded,
    Failed,
}

// === impl Runner ===

impl Runner<'_> {
    /// Reports that it has accepted a job.
    pub(crate) async fn say_running(&self, job: &str) -> io::Result<()> {
        self.say(&format!("Running job: {job}")).await
    }

    /// Reports that the job has ended.
    pub(crate) async fn say_completed(&self, job: &str, conclusion: Conclusion) -> io::Result<()> {
        self.say(&format!("Job {job} completed with result: {conclusion}")).await
    }

    async fn say(&self, text: &str) -> io::Result<()> {
        let stamp = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
        let line = format!("{stamp}: {text}\n");
        let start = Instant::now();
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        loop {
            // Fails while there is no reader.
            let pipe = OpenOptions::new().write(true).custom_flags(flags).open(&self.pipe);
            match pipe {
                Ok(mut pipe) => return pipe.write_all(line.as_bytes()),
                Err(error) if start.elapsed() > TIMEOUT => return Err(error),
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }
}

// === impl Conclusion ===

impl Conclusion {
    /// In the terms of the semantic conventions.
    pub(crate) fn result(self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed => "failure",
        }
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        })
    }
}

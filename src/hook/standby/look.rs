//! A look at the runner's files, which may be on storage that does not answer: a call waits for it for a
//! moment only.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::uses::Uses;
use crate::settings::Settings;

/// How long files are read. It takes milliseconds.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a call waits for that, before its first request and once its containers are ready. A file
/// that is being read is not given up in time by itself.
const MOMENT: Duration = Duration::from_millis(250);

/// What was found at the first moment, or the look that goes on.
#[derive(Debug)]
pub(crate) enum Look {
    Found(Uses),
    GoesOn(JoinHandle<Uses>),
}

/// Which images the job's steps will use, by the files that the runner has; nothing where standby
/// containers are off.
pub(crate) async fn look(settings: &Settings) -> Look {
    if settings.standby == 0 {
        return Look::Found(Uses::default());
    }
    let settings = settings.clone();
    Look::begin(spawn_blocking(move || Uses::of(&settings, Instant::now() + READ_TIMEOUT))).await
}

// === impl Look ===

impl Look {
    async fn begin(mut handle: JoinHandle<Uses>) -> Self {
        match timeout(MOMENT, &mut handle).await {
            // If it panics, there is nothing to stand by for.
            Ok(uses) => Self::Found(uses.unwrap_or_default()),
            Err(_) => Self::GoesOn(handle),
        }
    }

    /// The images that were found in time, as the agent is told of them.
    pub(crate) fn images(&self, policy: Option<&str>) -> Option<String> {
        match self {
            Self::Found(uses) => uses.images(policy),
            Self::GoesOn(_) => None,
        }
    }

    /// What was found by now.
    pub(super) async fn end(self) -> Uses {
        match self {
            Self::Found(uses) => uses,
            Self::GoesOn(handle) => match timeout(MOMENT, handle).await {
                Ok(Ok(uses)) => uses,
                Ok(Err(_)) | Err(_) => Uses::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::sleep;

    use super::super::uses::Use;
    use super::*;

    fn some() -> Uses {
        let list = vec![Use { image: "a:1".to_owned(), entry_point: true }];
        Uses { list, is_counted: true }
    }

    /// Waits until the thread is done, which a busy machine may keep from it for longer than a moment.
    async fn finished(handle: &JoinHandle<Uses>) {
        while !handle.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn storage_that_does_not_answer_holds_up_nothing_and_may_answer_later() {
        let (answer, answers) = mpsc::channel();
        let look = Look::begin(spawn_blocking(move || answers.recv().unwrap_or_default())).await;
        assert_eq!(look.images(None), None);
        let Look::GoesOn(handle) = &look else { panic!("{look:?}") };
        answer.send(some()).unwrap();
        finished(handle).await;
        assert_eq!(look.end().await, some());
        // Nor does one that never does.
        let (answer, answers) = mpsc::channel();
        let look = Look::begin(spawn_blocking(move || answers.recv().unwrap_or_default())).await;
        assert_eq!(look.end().await, Uses::default());
        drop(answer);
    }

    #[tokio::test]
    async fn what_is_found_in_time_is_told_and_kept() {
        let handle = spawn_blocking(some);
        finished(&handle).await;
        let look = Look::begin(handle).await;
        assert_eq!(look.images(None).as_deref(), Some("a:1"));
        assert_eq!(look.end().await, some());
    }
}

//! How long an agent that has answered before may stay silent while a job is followed.

use std::time::{Duration, Instant};

use ephemon_client::{Error, Listed, Trouble};

use crate::failure::Failure;
use crate::screen::tell;

/// A pod of an agent that is replaced, or a port-forward that breaks, is back within it.
const LIMIT: Duration = Duration::from_secs(30);

/// Since when the agent has not answered.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// The agent's answer; none while it may still come. The first failure is told.
    pub(crate) fn wait<T>(
        &mut self,
        answer: Result<T, Error>,
        listed: &Listed,
    ) -> Result<Option<T>, Failure> {
        let error = match answer {
            Ok(answer) => {
                self.0 = None;
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        let is_lasting = matches!(error, Error::NoJob | Error::PageOff | Error::Password);
        if is_lasting || self.0.is_some_and(|since| since.elapsed() >= LIMIT) {
            return Err(Failure::of(&listed.node)(error));
        }
        if self.0.is_none() {
            self.0 = Some(Instant::now());
            tell(&[Trouble { node: listed.node.clone(), why: format!("{error}; trying again") }]);
        }
        Ok(None)
    }
}

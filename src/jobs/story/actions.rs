//! Stories of container actions.

use ephemon_contract::{Phase, Record, StepKind};
use ephemon_model::ContainerType;

use super::{Story, s};
use crate::Evidence;

impl Story {
    /// Two container actions at one time, by their images' own entrypoints.
    pub fn at_once() -> Self {
        let mut story = Self::idle();
        for (step, container) in [("two", "step-2"), ("one", "step")] {
            story.container(container, ContainerType::Ephemeral, Some("step"), (42, 50), 0, 500);
            story.launched(container, 41);
            story.call(Phase::RunContainerStep, Some(step), (40, 55), 0);
            if let Some(Evidence::Journal(heard)) = story.pieces.last_mut()
                && let Record::HookPhase { container: told, .. } = &mut heard.record
            {
                *told = Some(container.to_owned());
            }
        }
        story
    }

    /// A container that was made ahead when the job was prepared, and what a step did with it.
    pub fn stood_by(taken: bool) -> Self {
        let mut story = Self::whole();
        let ended = if taken { 50 } else { 58 };
        story.container("standby", ContainerType::Ephemeral, Some("standby"), (17, ended), 0, 20);
        story.launched("standby", 16);
        story.pulled("standby", 16, 500);
        story.init("standby", 18, (ended, 0));
        if taken {
            story.taken("standby", "tidy", (46, 50));
        }
        story
    }

    /// The hook's call, and the process a tenth of a second within it.
    fn taken(&mut self, container: &str, name: &str, (start, end): (u64, u64)) {
        self.call(Phase::RunContainerStep, Some(name), (start, end), 0);
        let record = Record::StepStarted {
            at_ns: s(start) + 100_000_000,
            step: 1,
            name: name.to_owned(),
            kind: StepKind::Container,
            id: Some(name.to_owned()),
            called_ns: Some(s(start)),
            pid: 7,
        };
        self.heard(container, s(end), record);
    }
}

//! For events in any order, every chain of actions ends, and every life has an end.

use proptest::prelude::*;

use super::*;

/// Possible answers of the kernel, the inventory and the pod's other containers.
fn answers() -> impl Strategy<Value = [bool; 6]> {
    any::<[bool; 6]>()
}

/// An event of a container.
fn happening() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Opened),
        Just(Event::Displaced),
        Just(Event::Changed),
        Just(Event::ExitWatchFired),
        Just(Event::Due)
    ]
}

proptest! {
    #[test]
    fn every_chain_of_actions_ends_and_every_wait_is_to_come(
        happenings in prop::collection::vec((happening(), answers(), 0..3_000_u64), 0..60),
        has_events in any::<bool>(),
    ) {
        let mut rig = Rig::new();
        rig.pace.has_events = has_events;
        let mut ms = 0;
        for (happened, [yes, some, read, wanted, watched, credit], later) in happenings {
            ms += later;
            rig.pace.credit_wait = Duration::from_millis(if credit { 0 } else { 90 });
            let mut event = happened;
            let mut steps = 0;
            loop {
                steps += 1;
                prop_assert!(steps < 12, "no end after {happened:?}");
                event = match rig.on(ms, event) {
                    Action::Wait(until) => {
                        prop_assert!(until > rig.start + Duration::from_millis(ms));
                        break;
                    }
                    Action::AskVerdict => Event::Verdict(wanted),
                    Action::Look if rig.life.is_closed() => Event::Looked(None),
                    Action::Look => Event::Looked(some.then_some(yes)),
                    Action::ReadCpu => Event::CpuRead(some.then_some(u64::from(read))),
                    Action::AskVacant => Event::IsVacant(wanted),
                    Action::ReadFinal => Event::FinalRead(read.then(|| wall(ms))),
                    Action::Unsettle => Event::Unsettled,
                    Action::WatchExit => Event::ExitWatched(watched),
                    Action::Sample => Event::Sampled(read),
                    Action::AskSandbox => Event::IsSandbox(yes && watched),
                    Action::AskNested => Event::Nested(yes),
                    Action::HideSandbox | Action::Show | Action::ReportEnd(_)
                    | Action::Close { .. } | Action::OpenPod => Event::Done,
                    end => return Err(TestCaseError::fail(format!("{end:?} of one that is there"))),
                };
            }
        }
        let phase = rig.life.phase();
        let end = rig.on(ms, Event::Removed);
        let fits = match phase {
            Phase::Closed | Phase::Empty { reported: true, .. } => end == Action::Forget,
            Phase::Empty { .. } => matches!(end, Action::SettleExact(_)),
            Phase::Fresh | Phase::Vacant | Phase::Running => end == Action::SettleMissed,
        };
        prop_assert!(fits, "{phase:?} ends in {end:?}");
    }
}

//! Groups without processes.

use super::*;

#[test]
fn a_group_that_stays_without_a_process_is_vacant_and_may_have_run_unseen_before_its_removal() {
    let mut rig = Rig::without_events();
    rig.rows(
        999,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(false)), Action::ReadCpu),
            (Event::CpuRead(Some(0)), Action::Sample),
        ],
    );
    let looks = || {
        vec![
            (Event::Changed, Action::Look),
            (Event::Looked(Some(false)), Action::ReadCpu),
            (Event::CpuRead(Some(0)), Action::AskVacant),
        ]
    };
    rig.rows(1000, looks());
    // It is looked at as often as it would be sampled.
    rig.waits(1000, Event::IsVacant(true), 1100);
    assert_eq!(rig.life.phase(), Phase::Vacant);
    rig.rows(1001, looks());
    rig.waits(1001, Event::IsVacant(true), 1101);
    // A process came late.
    rig.rows(
        1100,
        vec![(Event::Changed, Action::Look), (Event::Looked(Some(true)), Action::WatchExit)],
    );
    assert_eq!(rig.life.phase(), Phase::Running);
    let mut rig = Rig::new();
    rig.rows(1000, looks());
    rig.on(1000, Event::IsVacant(true));
    rig.rows(2000, vec![(Event::Removed, Action::SettleMissed)]);
}

#[test]
fn a_sandbox_whose_processes_are_in_the_pods_group_goes_on_there() {
    let mut rig = Rig::without_events();
    rig.rows(
        1000,
        vec![
            (Event::Changed, Action::Look),
            (Event::Looked(Some(false)), Action::ReadCpu),
            (Event::CpuRead(Some(0)), Action::AskVacant),
            (Event::Opened, Action::Look),
            (Event::Looked(Some(true)), Action::WatchExit),
            (Event::ExitWatched(true), Action::Sample),
        ],
    );
}

//! Lives as tables: the event at a time, and the expected action.

mod chains;
mod vacant;

use ephemon_model::Quality;

use super::*;

/// A life that is checked against a table.
struct Rig {
    life: Life,
    start: Instant,
    pace: Pace,
}

/// When the container was created.
const CREATED: SystemTime = SystemTime::UNIX_EPOCH;

/// A time of the wall clock, milliseconds after [`CREATED`].
fn wall(ms: u64) -> SystemTime {
    CREATED + Duration::from_millis(ms)
}

fn exact(ms: u64) -> Ended {
    Ended { at: wall(ms), quality: Quality::Exact }
}

impl Rig {
    /// Where the kernel reports changes of `cgroup.events`.
    fn new() -> Self {
        let start = Instant::now();
        let pace = Pace {
            cadence: Cadence { steady: Duration::from_secs(1) },
            credit_wait: Duration::ZERO,
            has_events: true,
            epoch: start,
        };
        Self { life: Life::new(CREATED, start), start, pace }
    }

    fn without_events() -> Self {
        let mut rig = Self::new();
        rig.pace.has_events = false;
        rig
    }

    /// A container with a watched process, shown at 0 ms.
    fn running() -> Self {
        let mut rig = Self::new();
        rig.rows(
            0,
            vec![
                (Event::Opened, Action::Look),
                (Event::Looked(Some(true)), Action::WatchExit),
                (Event::ExitWatched(true), Action::Sample),
                (Event::Sampled(true), Action::AskSandbox),
                (Event::IsSandbox(false), Action::Show),
            ],
        );
        rig.done(0, 20);
        rig
    }

    /// A container whose last process has ended at 2 ms.
    fn empty() -> Self {
        let mut rig = Self::running();
        rig.rows(
            2,
            vec![
                (Event::ExitWatchFired, Action::Look),
                (Event::Looked(Some(false)), Action::ReadFinal),
            ],
        );
        rig.waits(2, Event::FinalRead(Some(wall(2))), 3);
        rig
    }

    /// A container that stays empty until it is reported as ended, at 1002 ms.
    fn reported() -> Self {
        let mut rig = Self::empty();
        rig.ask_verdict_at(1002, true, Action::Look);
        rig.rows(
            1002,
            vec![
                (Event::Looked(None), Action::AskNested),
                (Event::Nested(false), Action::ReportEnd(exact(2))),
            ],
        );
        rig.done(1002, 6000);
        rig
    }

    /// A container whose pod was found not to be selected at 10 s.
    fn closed() -> Self {
        let mut rig = Self::running();
        rig.ask_verdict_at(10_000, false, Action::Close { was_reported: false });
        rig.done(10_000, 15_000);
        rig
    }

    fn on(&mut self, ms: u64, event: Event) -> Action {
        self.life.on(event, self.start + Duration::from_millis(ms), &self.pace)
    }

    /// Events at one time, each with the expected action.
    fn rows(&mut self, ms: u64, rows: Vec<(Event, Action)>) {
        for (event, expected) in rows {
            assert_eq!(self.on(ms, event), expected, "after {event:?} at {ms} ms");
        }
    }

    /// An event after which nothing is to be done until a time.
    fn waits(&mut self, ms: u64, event: Event, until_ms: u64) {
        let until = self.start + Duration::from_millis(until_ms);
        self.rows(ms, vec![(event, Action::Wait(until))]);
    }

    fn done(&mut self, ms: u64, until_ms: u64) {
        self.waits(ms, Event::Done, until_ms);
    }

    fn ask_verdict_at(&mut self, ms: u64, wanted: bool, then: Action) {
        self.rows(ms, vec![(Event::Due, Action::AskVerdict), (Event::Verdict(wanted), then)]);
    }
}

#[test]
fn a_container_is_sampled_at_its_birth_and_ever_less_often() {
    let mut rig = Rig::running();
    rig.waits(20, Event::Due, 50);
    rig.rows(
        50,
        vec![
            (Event::Due, Action::Sample),
            (Event::Sampled(true), Action::AskSandbox),
            (Event::IsSandbox(false), Action::Show),
        ],
    );
    rig.done(50, 100);
    // After a minute its name is known, and samples are a second apart.
    rig.ask_verdict_at(60_000, true, Action::Sample);
    rig.rows(60_000, vec![(Event::Sampled(true), Action::Show)]);
    rig.done(60_000, 61_000);
}

#[test]
fn a_group_without_a_process_is_shown_and_its_first_process_is_watched() {
    for (mut rig, next_look) in [(Rig::new(), 20), (Rig::without_events(), 2)] {
        rig.rows(
            0,
            vec![
                (Event::Opened, Action::Look),
                (Event::Looked(Some(false)), Action::ReadCpu),
                (Event::CpuRead(Some(0)), Action::Sample),
                (Event::Sampled(true), Action::AskSandbox),
                (Event::IsSandbox(false), Action::Show),
            ],
        );
        rig.done(0, next_look);
        rig.rows(
            1,
            vec![(Event::Changed, Action::Look), (Event::Looked(Some(true)), Action::WatchExit)],
        );
        rig.waits(1, Event::ExitWatched(true), 20);
        assert_eq!(rig.life.phase(), Phase::Running);
    }
}

#[test]
fn without_events_a_group_whose_process_cannot_be_watched_is_looked_at_often() {
    let mut rig = Rig::without_events();
    rig.rows(
        0,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(true)), Action::WatchExit),
            (Event::ExitWatched(false), Action::Sample),
            (Event::Sampled(true), Action::AskSandbox),
            (Event::IsSandbox(false), Action::Show),
        ],
    );
    rig.done(0, 2);
    rig.rows(2, vec![(Event::Due, Action::Look), (Event::Looked(Some(true)), Action::WatchExit)]);
    rig.waits(2, Event::ExitWatched(false), 4);
    rig.rows(4, vec![(Event::Due, Action::Look), (Event::Looked(Some(false)), Action::ReadFinal)]);
    rig.waits(4, Event::FinalRead(Some(wall(4))), 5);
}

#[test]
fn a_life_too_short_to_be_seen_is_known_by_the_cpu_time_it_left() {
    let mut rig = Rig::new();
    rig.rows(
        0,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(false)), Action::ReadCpu),
            (Event::CpuRead(Some(1)), Action::ReadFinal),
        ],
    );
    rig.waits(0, Event::FinalRead(Some(wall(1))), 1);
    rig.rows(1, vec![(Event::Removed, Action::SettleExact(exact(1)))]);
}

#[test]
fn when_a_watch_fires_the_next_process_is_watched_and_the_last_one_ends_the_container() {
    let mut rig = Rig::running();
    rig.rows(
        1,
        vec![(Event::ExitWatchFired, Action::Look), (Event::Looked(Some(true)), Action::WatchExit)],
    );
    rig.waits(1, Event::ExitWatched(true), 20);
    // Its process has ended, and the kernel does not report yet that there is no other.
    rig.rows(3, vec![(Event::ExitWatchFired, Action::Look)]);
    rig.waits(3, Event::Looked(None), 4);
    rig.rows(4, vec![(Event::Due, Action::Look), (Event::Looked(Some(false)), Action::ReadFinal)]);
    rig.waits(4, Event::FinalRead(Some(wall(4))), 5);
    rig.rows(5, vec![(Event::Removed, Action::SettleExact(exact(4)))]);
}

#[test]
fn an_empty_group_is_read_again_and_its_end_stays_that_of_the_first_reading() {
    let mut rig = Rig::empty();
    let mut now = 3;
    for wait in [2, 4, 8, 16, 30, 100, 100] {
        rig.rows(
            now,
            vec![(Event::Due, Action::Look), (Event::Looked(Some(false)), Action::ReadFinal)],
        );
        rig.waits(now, Event::FinalRead(Some(wall(now))), now + wait);
        now += wait;
    }
    rig.rows(now, vec![(Event::Removed, Action::SettleExact(exact(2)))]);
}

#[test]
fn an_end_is_not_before_the_birth_though_the_clock_was_set_back() {
    let mut rig = Rig::running();
    rig.rows(
        2,
        vec![
            (Event::ExitWatchFired, Action::Look),
            (Event::Looked(Some(false)), Action::ReadFinal),
        ],
    );
    rig.waits(2, Event::FinalRead(Some(CREATED - Duration::from_hours(1))), 3);
    rig.rows(3, vec![(Event::Removed, Action::SettleExact(exact(0)))]);
}

#[test]
fn a_group_that_stays_empty_is_reported_once_and_taken_back_if_it_has_a_process_again() {
    let mut rig = Rig::reported();
    rig.ask_verdict_at(6000, true, Action::Look);
    rig.waits(6000, Event::Looked(None), 11_000);
    rig.rows(
        6100,
        vec![
            (Event::Changed, Action::Look),
            (Event::Looked(Some(true)), Action::Unsettle),
            (Event::Unsettled, Action::WatchExit),
        ],
    );
    assert_eq!(rig.on(6100, Event::ExitWatched(true)), rig.on(6100, Event::Done));
    assert_eq!(rig.life.phase(), Phase::Running);
    rig.rows(6200, vec![(Event::Removed, Action::SettleMissed)]);
    Rig::reported().rows(1100, vec![(Event::Removed, Action::Forget)]);
}

#[test]
fn a_group_whose_children_have_processes_is_not_over() {
    let mut rig = Rig::empty();
    rig.ask_verdict_at(1002, true, Action::Look);
    rig.rows(1002, vec![(Event::Looked(None), Action::AskNested)]);
    rig.on(1002, Event::Nested(true));
    assert_eq!(rig.life.phase(), Phase::Running);
}

#[test]
fn one_that_was_gone_before_it_was_read_is_settled_from_the_pod() {
    let mut rig = Rig::new();
    rig.rows(
        0,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(None), Action::Sample),
            (Event::Sampled(false), Action::AskSandbox),
            (Event::IsSandbox(false), Action::Show),
        ],
    );
    rig.done(0, 20);
    rig.rows(1, vec![(Event::Removed, Action::SettleMissed)]);
    // Seen empty, and removed when its files were read.
    let mut rig = Rig::running();
    rig.rows(
        5,
        vec![(Event::Changed, Action::Look), (Event::Looked(Some(false)), Action::ReadFinal)],
    );
    rig.waits(5, Event::FinalRead(None), 20);
    rig.rows(6, vec![(Event::Removed, Action::SettleMissed)]);
}

#[test]
fn the_sandbox_is_sampled_and_never_shown() {
    let mut rig = Rig::new();
    rig.rows(
        0,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(true)), Action::WatchExit),
            (Event::ExitWatched(true), Action::Sample),
            (Event::Sampled(true), Action::AskSandbox),
            (Event::IsSandbox(true), Action::HideSandbox),
        ],
    );
    rig.done(0, 20);
    rig.rows(50, vec![(Event::Due, Action::Sample)]);
    rig.waits(50, Event::Sampled(true), 100);
    assert!(rig.life.is_sandbox());
}

#[test]
fn a_pod_that_nobody_wants_is_captured_until_the_list_has_had_time() {
    let mut rig = Rig::running();
    rig.ask_verdict_at(9_000, false, Action::Sample);
    let mut rig = Rig::closed();
    assert!(rig.life.is_closed());
    rig.rows(15_000, vec![(Event::Due, Action::AskVerdict)]);
    rig.waits(15_000, Event::Verdict(false), 20_000);
    // Later events of it have no effect.
    rig.rows(16_000, vec![(Event::Changed, Action::Look)]);
    rig.waits(16_000, Event::Looked(None), 21_000);
    rig.rows(17_000, vec![(Event::Removed, Action::Forget)]);
}

#[test]
fn a_pod_that_is_wanted_late_is_opened_with_all_its_containers() {
    let mut rig = Rig::closed();
    rig.ask_verdict_at(15_000, true, Action::OpenPod);
    rig.rows(
        15_000,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(true)), Action::WatchExit),
            (Event::ExitWatched(true), Action::Sample),
            (Event::Sampled(true), Action::AskSandbox),
            (Event::IsSandbox(false), Action::Show),
        ],
    );
    rig.done(15_000, 15_500);
    assert_eq!(rig.life.phase(), Phase::Running);
    // Its process has ended meanwhile.
    let mut rig = Rig::closed();
    rig.rows(
        15_000,
        vec![
            (Event::Opened, Action::Look),
            (Event::Looked(Some(false)), Action::ReadCpu),
            (Event::CpuRead(Some(9)), Action::ReadFinal),
        ],
    );
    rig.waits(15_000, Event::FinalRead(Some(wall(15_000))), 15_001);
}

#[test]
fn while_the_cpu_budget_is_used_up_nobody_is_sampled_and_ends_are_read_all_the_same() {
    let mut rig = Rig::running();
    rig.pace.credit_wait = Duration::from_millis(150);
    rig.waits(60, Event::Due, 210);
    rig.rows(
        70,
        vec![
            (Event::ExitWatchFired, Action::Look),
            (Event::Looked(Some(false)), Action::ReadFinal),
        ],
    );
    rig.waits(70, Event::FinalRead(Some(wall(70))), 71);
}

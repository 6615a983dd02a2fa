//! Pods whose sandbox's processes are in the pod's own group: one container stands for the pod.

use ephemon_contract::Limits;
use ephemon_discovery::inventory::{Asked, Expected, SpecEntry};

use super::*;

impl Rig {
    /// A pod that the agent found running. Nobody has named its containers by the time at which one of them
    /// is found to stand for the pod: the one that looks oldest, which is not the sandbox.
    fn with_a_wrong_stand_in() -> Self {
        let mut rig = Self::v1(Source::Startup, 5);
        for number in [2, 1] {
            rig.add(number, 0, false);
        }
        rig.due();
        assert_eq!((rig.cpu(1), rig.cpu(2)), (None, Some((5, None))));
        rig
    }

    /// The timer of one container has come.
    fn one_due(&mut self, number: u32) {
        self.later += LATER;
        self.driver.on(self.key(number), Event::Due, Instant::now() + self.later);
    }

    /// Another pod's container has the place of this one.
    fn displace(&mut self, number: u32) {
        self.driver.on(self.key(number), Event::Displaced, Instant::now() + self.later);
    }

    fn is_closed(&self, number: u32) -> bool {
        self.driver.held.containers[&self.key(number)].life.is_closed()
    }

    fn accounting_error(&mut self) -> Option<f64> {
        self.driver.balance_all();
        self.driver.reports.readings.snapshot().pods.pop()?.accounting_error
    }
}

/// As gVisor does: the sandbox's processes are in the pod's group.
#[test]
fn on_version_1_the_sandbox_has_the_values_of_the_pods_group() {
    let mut rig = Rig::v1(Source::Inotify, 5);
    for number in [1, 2, 3] {
        rig.add(number, 0, false);
    }
    rig.tell();
    assert_eq!(rig.kind(1), ContainerType::Sandbox);
    // One that is over before anybody knows: the pod's use is not its own.
    rig.removed(3);
    assert_eq!(rig.cpu(3), None);

    rig.due();
    assert_eq!(rig.cpu(1), Some((5, None)));
    assert_eq!(rig.kind(1), ContainerType::SharedSandbox);
    assert_eq!(rig.cpu(2), None, "it has no values");
    rig.removed(2);
    assert_eq!(rig.cpu(2), None);

    rig.add(4, 0, false);
    rig.pod(9, true);
    rig.removed(4);
    assert_eq!(rig.cpu(4), None, "too short to tell, and not the one that used it");

    rig.pod(11, false);
    rig.due();
    rig.removed(1);
    assert_eq!(rig.cpu(1), Some((11, Some(Quality::Exact))));
}

#[test]
fn on_version_1_a_container_that_looks_oldest_does_not_have_the_values_of_the_pods_group() {
    let mut rig = Rig::v1(Source::Inotify, 5);
    rig.tell();
    rig.add(2, 0, false);
    rig.add(1, 0, false);
    rig.due();
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((5, None)), None));
}

/// As on a node where the agent was started after the pod.
#[test]
fn the_accounts_of_a_pod_that_its_sandbox_stands_for_balance() {
    let mut rig = Rig::v1(Source::Startup, 500);
    rig.add(1, 0, false);
    rig.add(2, 0, false);
    rig.tell();
    rig.driver.balance_all();
    rig.due();
    rig.pod(900, true);
    rig.due();
    let error = rig.accounting_error();
    assert!(error.is_some_and(|error| error < 0.01), "{error:?}");
}

/// The group beside which the pod's next container will be is never the pod's own.
#[test]
fn a_sandbox_whose_processes_come_late_to_the_pods_group_keeps_its_own_path() {
    let mut rig = Rig::v1(Source::Inotify, 0);
    rig.pod(0, false);
    rig.add(1, 0, false);
    let limits = Limits { pids: Some(64), ..Limits::default() };
    let entry = SpecEntry {
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: None,
        limits: Some(Ok(limits)),
        wants_init: false,
        job: None,
    };
    rig.inventory.learn(Evidence::Spec { pod: uid('a'), entries: vec![entry] });
    let beside = |rig: &Rig| match rig.inventory.expected(&uid('a'), "job") {
        Expected::Asks(Asked { limits: Some((_, beside)), .. }) => Some(beside),
        _ => None,
    };
    assert_eq!(beside(&rig).as_deref(), Some(Path::new("poda/1")));
    rig.due();
    assert_eq!(beside(&rig), None, "it has no process");

    rig.pod(5, true);
    rig.due();
    assert_eq!(rig.cpu(1), Some((5, None)));
    assert_ne!(beside(&rig).as_deref(), Some(Path::new("poda")));
}

/// As long as the wrong one is not asked itself, the pod's use is not shown twice.
#[test]
fn one_container_alone_stands_for_a_pod() {
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.tell();
    rig.one_due(1);
    assert_eq!((rig.cpu(1), rig.cpu(2)), (None, Some((5, None))));
}

#[test]
fn a_sandbox_that_is_named_late_stands_for_its_pod_instead_of_another() {
    for tell in [Rig::tell, Rig::tell_sandbox, Rig::tell_job] {
        let mut rig = Rig::with_a_wrong_stand_in();
        tell(&rig);
        rig.pod(300, true);
        rig.one_due(2);
        assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((300, None)), None));
        rig.pod(500, true);
        rig.due();
        assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((500, None)), None));
        let error = rig.accounting_error();
        assert!(error.is_some_and(|error| error < 0.01), "{error:?}");
        rig.removed(2);
        rig.pod(600, false);
        rig.due();
        rig.removed(1);
        assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((600, Some(Quality::Exact))), None));
    }
}

#[test]
fn what_a_pod_is_shown_as_follows_who_stands_for_it() {
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.tell();
    assert_eq!(rig.kind(1), ContainerType::Sandbox, "its container has a group");
    rig.one_due(2);
    assert_eq!(rig.kind(1), ContainerType::SharedSandbox);
    // A process that was only late, in its own group.
    rig.group(2, 3, true);
    rig.due();
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((5, None)), Some((3, None))));
    assert_eq!(rig.kind(1), ContainerType::Sandbox);
}

/// Nothing has happened to it between the names and the end.
#[test]
fn a_container_that_stood_for_its_pod_by_mistake_ends_without_the_pods_use() {
    for first in [2, 1] {
        let mut rig = Rig::with_a_wrong_stand_in();
        rig.tell();
        rig.pod(7, true);
        rig.removed(first);
        assert_eq!(rig.cpu(2), None);
        let last = (first == 1).then_some(Quality::Residual);
        assert_eq!(rig.cpu(1), Some((7, last)), "{first} was removed first");
        rig.removed(2);
        assert_eq!(rig.cpu(2), None);
    }
    // The pod is gone with all that was in it: what was read last is the sandbox's.
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.tell();
    rig.driver.pod_removed(&uid('a'));
    assert_eq!(rig.cpu(1), Some((5, Some(Quality::LastSample))));
    assert_eq!(rig.driver.shown(2), None);
}

/// It was over, and nobody had named it.
#[test]
fn an_end_that_was_another_ones_is_taken_back() {
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.pod(200, false);
    rig.due();
    rig.due();
    assert_eq!(rig.cpu(2), Some((200, Some(Quality::Exact))));
    rig.tell();
    rig.one_due(2);
    assert_eq!(rig.cpu(2), None);
    rig.due();
    assert_eq!(rig.cpu(1), Some((200, Some(Quality::Exact))));
    let error = rig.accounting_error();
    assert!(error.is_some_and(|error| error < 0.01), "{error:?}");
}

/// Its place was another pod's for a while, and in that time the sandbox was named.
#[test]
fn a_stand_in_without_a_place_stands_for_nothing_and_comes_back_to_its_own_group() {
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.displace(2);
    rig.tell();
    rig.due();
    assert!(rig.is_closed(2));
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((5, None)), None));
    rig.pod(300, true);
    for _ in 0..3 {
        rig.due();
    }
    assert!(!rig.is_closed(2));
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((300, None)), None));
    let error = rig.accounting_error();
    assert!(error.is_some_and(|error| error < 0.01), "{error:?}");
}

#[test]
fn a_sandbox_without_a_place_stands_for_its_pod_once_it_has_one() {
    let mut rig = Rig::with_a_wrong_stand_in();
    rig.displace(1);
    rig.tell();
    rig.one_due(2);
    assert!(rig.is_closed(1));
    assert_eq!((rig.cpu(1), rig.cpu(2)), (None, None));
    for _ in 0..3 {
        rig.due();
    }
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((5, None)), None));
}

/// Ages do not tell, so that another one which looks older is no reason.
#[test]
fn a_guess_is_not_followed_by_another() {
    let mut rig = Rig::v1(Source::Startup, 5);
    rig.add(1, 0, false);
    rig.due();
    assert_eq!(rig.cpu(1), Some((5, None)));
    rig.group(2, 0, false);
    let group = fs::File::open(rig.root.path().join("cpuacct/poda/2")).unwrap();
    group.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    rig.driver.created(&id(2), &uid('a'), Path::new("poda/2"), Source::Rescan);
    rig.due();
    rig.due();
    assert_eq!((rig.cpu(1), rig.cpu(2)), (Some((5, None)), None));
}

/// Its sandbox has no place, for example: then the pod's use is nobody's.
#[test]
fn a_container_that_is_named_does_not_stand_for_its_pod_though_no_other_can() {
    let mut rig = Rig::v1(Source::Startup, 5);
    rig.add(2, 0, false);
    rig.due();
    assert_eq!(rig.cpu(2), Some((5, None)));
    rig.tell_job();
    rig.due();
    assert_eq!(rig.cpu(2), None);
    // Nor is it that of the next that ends.
    rig.driver.balance_all();
    rig.add(3, 0, true);
    rig.removed(3);
    assert_eq!(rig.cpu(3), Some((0, Some(Quality::Residual))));
}

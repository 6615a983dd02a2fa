//! Bounds of the readings, and who waits for them.

use std::path::Path;
use std::time::SystemTime;

use ephemon_cgroup::nested_name::Engine;
use ephemon_discovery::cgroups::NestedGroup;
use ephemon_model::ContainerId;

use super::*;
use crate::life::Life;
use crate::nested::Nested;

fn container(number: usize, directory: &str) -> Container {
    let id = ContainerId::parse(&format!("{number:064x}")).unwrap();
    let pod = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
    let path = Path::new(directory).join(number.to_string());
    let group = NestedGroup {
        key: id.clone(),
        pod: pod.clone(),
        outer: id.clone(),
        outer_path: PathBuf::from("outer"),
        path: path.clone(),
        engine: Engine::Docker,
        id: number.to_string().into(),
        beside: true,
        engines_directory: Some(PathBuf::from(directory)),
        from_birth: true,
    };
    let life = Life::waiting(SystemTime::now(), Instant::now());
    let mut container = Container::new(id, pod, path, life);
    container.nested = Some(Nested { group: Box::new(group), is_known: true });
    container
}

/// How many readings are made for so many containers that are removed one by one, so long after each
/// other, and how many of them wait at most.
fn reads(containers: usize, pause: Duration) -> (usize, usize) {
    let start = Instant::now();
    let mut missed = Missed::new(start);
    let (mut reads, mut most) = (0, 0);
    for ended in 1..=containers {
        let (others, now) = (containers - ended, start + pause * u32::try_from(ended).unwrap());
        missed.push(container(ended, "docker"));
        most = most.max(missed.waiting().len());
        if missed.is_due(others, now) {
            while missed.take_innermost().is_some() {}
            missed.spend(others);
            reads += others;
        }
    }
    (reads, most)
}

#[test]
fn few_that_end_one_by_one_are_derived_one_by_one() {
    assert_eq!(reads(80, Duration::ZERO), (80 * 79 / 2, 1));
}

#[test]
fn as_many_as_there_may_be_cost_a_bounded_number_of_readings_each() {
    for containers in [200, 600, 2400] {
        let (reads, most) = reads(containers, Duration::ZERO);
        let bound = 4_096 + containers + containers * READS_PER_END;
        assert!(reads <= bound, "{reads} of {bound} for {containers}");
        assert!(most <= containers / READS_PER_END + 1, "{most} of {containers}");
    }
}

#[test]
fn slow_ends_are_derived_one_by_one_however_many_there_are() {
    assert_eq!(reads(512, Duration::from_millis(110)), (512 * 511 / 2, 1));
}

#[test]
fn those_that_wait_are_due_as_soon_as_readings_may_be_made_again() {
    let start = Instant::now();
    let mut missed = Missed::new(start);
    assert_eq!(missed.next_due(start), None);
    missed.spend(4_096 + 500);
    missed.push(container(1, "docker"));
    assert!(!missed.is_due(100, start));
    let due = missed.next_due(start).unwrap();
    assert_eq!(due, start + Duration::from_millis(101));
    assert!(!missed.is_due(100, due.checked_sub(Duration::from_millis(1)).unwrap()));
    assert!(missed.is_due(100, due));
}

#[test]
fn inner_directories_come_first() {
    let mut missed = Missed::new(Instant::now());
    for (number, directory) in [(1, "docker"), (2, "docker/9/docker"), (3, "podman"), (4, "docker")]
    {
        missed.push(container(number, directory));
    }
    let mut taken = Vec::new();
    while let Some((directory, containers)) = missed.take_innermost() {
        taken.push((directory.to_str().unwrap().to_owned(), containers.len()));
    }
    assert_eq!(taken.remove(0), ("docker/9/docker".to_owned(), 1));
    taken.sort();
    assert_eq!(taken, [("docker".to_owned(), 2), ("podman".to_owned(), 1)]);
}

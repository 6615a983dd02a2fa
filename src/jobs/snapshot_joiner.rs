//! Joins what the inventory knows of containers with what capture read of them, into what the
//! assembler takes. No I/O of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use ephemon_base::clock::{nanos, unix_time};
use ephemon_capture::readings::{Record, Snapshot};
use ephemon_discovery::inventory::{ListedContainer, ListedPod};
use ephemon_model::{ContainerId, PodUid, Usage};

use super::assembler::PodSnapshot;
use super::evidence::{Reading, Sighted};
use super::figures::Figures;

/// Pods of the inventory with what capture has read of their containers.
pub fn snapshots(pods: Vec<ListedPod>, snapshot: &Snapshot) -> Vec<PodSnapshot> {
    let records: HashMap<&ContainerId, &Arc<Record>> =
        snapshot.containers.iter().map(|record| (&record.id, record)).collect();
    let gone: HashSet<&PodUid> =
        snapshot.pods.iter().filter(|pod| pod.gone).map(|pod| &pod.pod).collect();
    let snapshot = |ListedPod { pod, listed, spec, runner, runs }| {
        let there = listed && !gone.contains(&pod.uid);
        let containers = runs
            .into_iter()
            .filter_map(|run: ListedContainer| {
                let record = records.get(&run.id).filter(|record| record.pod == pod.uid);
                let known = record.is_some() || has_life(&run);
                known.then(|| sighted(run, record.map(|record| &***record)))
            })
            .collect();
        PodSnapshot { pod, there, spec, containers, runner }
    };
    pods.into_iter().map(snapshot).collect()
}

fn sighted(run: ListedContainer, record: Option<&Record>) -> Sighted {
    let ListedContainer {
        id, name, container_type, image, created, exit, started, finished, ..
    } = run;
    let ended = record.and_then(|record| record.ended.as_ref());
    let reading = record.and_then(|record| {
        Some(Reading {
            at_ns: ns(record.read_at)?,
            figures: figures(&record.usage),
            quality: ended.map(|ended| ended.quality),
        })
    });
    Sighted {
        name,
        container_type,
        image,
        born_ns: record.map(|record| record.created).or(created).and_then(ns),
        ended_ns: ended.and_then(|ended| ns(ended.at)),
        started_ns: started.and_then(ns),
        finished_ns: finished.and_then(ns),
        exit,
        reading,
        id,
    }
}

/// Whether anybody says when it began or ended. The link of its log alone is no sign of life: it
/// stays for as long as the pod, and longer.
fn has_life(run: &ListedContainer) -> bool {
    run.created.or(run.started).or(run.finished).is_some() || run.exit.is_some()
}

/// What a job's record has of a cgroup's figures.
pub fn figures(usage: &Usage) -> Figures {
    let sum = |of: fn(&ephemon_model::IoUsage) -> Option<u64>| {
        let counted = usage.io.iter().filter_map(of);
        counted
            .fold(None, |sum: Option<u64>, one| Some(sum.unwrap_or_default().saturating_add(one)))
    };
    Figures {
        cpu_ns: usage.cpu.usage_ns,
        throttled_ns: usage.cpu.throttled_ns,
        memory_peak_bytes: usage.memory.peak_bytes,
        memory_byte_ms: usage.memory.byte_ms,
        oom_kills: usage.memory.events.oom_kill,
        read_bytes: sum(|io| io.read_bytes),
        written_bytes: sum(|io| io.write_bytes),
    }
}

/// Nanoseconds since 1970; `None` of a clock set before.
fn ns(at: SystemTime) -> Option<u64> {
    unix_time(at).map(nanos)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use ephemon_discovery::inventory::RunnerFacts;
    use ephemon_model::{ContainerType, Ended, PodRef, Quality};

    use super::*;

    fn record(second: u64, byte_ms: u64) -> Record {
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        let mut usage = Usage::default();
        usage.memory.byte_ms = Some(byte_ms);
        usage.cpu.usage_ns = Some(7);
        Record {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            pod: PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap(),
            created: at(10),
            is_birth_seen: true,
            read_at: at(second),
            nested: false,
            usage,
            ended: (second == 14).then(|| Ended { at: at(14), quality: Quality::Exact }),
        }
    }

    #[test]
    fn a_container_has_its_figures_and_finals_carry_their_quality() {
        for (second, quality) in [(12, None), (14, Some(Quality::Exact))] {
            let record = record(second, 550_000);
            let uid = record.pod.clone();
            let run = ListedContainer {
                id: record.id.clone(),
                name: "job".into(),
                container_type: ContainerType::Ephemeral,
                image: None,
                created: None,
                ended: false,
                exit: None,
                started: None,
                finished: None,
            };
            let pod = Arc::new(PodRef { namespace: "ci".into(), name: "r".into(), uid });
            let pods = vec![ListedPod {
                pod,
                listed: true,
                spec: Vec::new(),
                runner: RunnerFacts::default(),
                runs: vec![run],
            }];
            let containers = vec![Arc::new(record)];
            let snapshots = snapshots(pods, &Snapshot { containers, pods: Vec::new() });
            assert!(snapshots[0].there);
            let one = &snapshots[0].containers[0];
            let reading = one.reading.unwrap();
            assert_eq!(reading.figures.memory_byte_ms, Some(550_000));
            assert_eq!((reading.quality, reading.figures.cpu_ns), (quality, Some(7)));
            assert_eq!(one.born_ns, Some(10_000_000_000));
            assert_eq!(one.ended_ns, quality.map(|_| 14_000_000_000));
        }
        assert!(snapshots(Vec::new(), &Snapshot::default()).is_empty());
    }

    #[test]
    fn a_name_without_a_life_is_no_container() {
        let run = ListedContainer {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            name: "job".into(),
            container_type: ContainerType::Unknown,
            image: None,
            created: None,
            ended: false,
            exit: None,
            started: None,
            finished: None,
        };
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod = Arc::new(PodRef { namespace: "ci".into(), name: "r".into(), uid });
        let living = ListedContainer { started: Some(UNIX_EPOCH), ..run.clone() };
        for (run, count) in [(run, 0), (living, 1)] {
            let pod = Arc::clone(&pod);
            let pods = vec![ListedPod {
                pod,
                listed: true,
                spec: Vec::new(),
                runner: RunnerFacts::default(),
                runs: vec![run],
            }];
            let snapshots = snapshots(pods, &Snapshot::default());
            assert_eq!(snapshots[0].containers.len(), count);
        }
    }
}

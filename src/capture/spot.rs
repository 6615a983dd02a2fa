//! A container's counters at a given moment: read at once, beside the capture thread's samples.
//!
//! The samples of a container that has run for a while are a second apart. What must be known more
//! exactly, such as where one step of a job ends and the next begins, is read here when it is asked
//! for. The files are opened for the one reading.

use ephemon_base::clock::now_ns;
use ephemon_cgroup::{Files, Hierarchy};
use ephemon_discovery::inventory::Inventory;
use ephemon_model::node::NodeRoot;
use ephemon_model::{PodUid, Usage};

/// Reads counters of containers on demand.
#[derive(Debug)]
pub struct SpotReader {
    node: NodeRoot,
    inventory: Inventory,
    /// `None` until the node has a cgroup mount.
    hierarchy: Option<Hierarchy>,
    buffer: Vec<u8>,
}

// === impl SpotReader ===

impl SpotReader {
    /// Of this node, whose containers the inventory knows by name.
    pub fn new(node: NodeRoot, inventory: Inventory) -> Self {
        Self { node, inventory, hierarchy: None, buffer: Vec::new() }
    }

    /// What the running container of this name has used, and when that was read, nanoseconds since
    /// 1970. `None` if its cgroup is not known, or was removed.
    pub fn read(&mut self, pod: &PodUid, container: &str) -> Option<(u64, Usage)> {
        let path = self.inventory.cgroup_of(pod, container)?;
        if self.hierarchy.is_none() {
            self.hierarchy = Hierarchy::detect(&self.node.cgroup()).ok();
        }
        let mut files = Files::open(self.hierarchy.as_ref()?, &path);
        if !files.is_open() {
            return None;
        }
        let mut usage = Usage::default();
        // A file that cannot be read leaves its values absent.
        files.read(&mut usage, &mut self.buffer).ok()?;
        Some((now_ns(), usage))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::SystemTime;

    use ephemon_discovery::inventory::{Evidence, EvidenceSource, Observation};
    use ephemon_model::ContainerId;
    use ephemon_self_metrics::SelfMetrics;

    use super::*;

    #[test]
    fn a_container_is_read_by_its_name_while_it_runs() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("sys/fs/cgroup/kubepods/one");
        fs::create_dir_all(&group).unwrap();
        fs::write(root.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu\n").unwrap();
        fs::write(group.join("cpu.stat"), "usage_usec 7\n").unwrap();
        let inventory = Inventory::without_api(SelfMetrics::new().unwrap());
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let mut reader = SpotReader::new(NodeRoot::new(root.path()), inventory.clone());
        assert!(reader.read(&uid, "runner").is_none(), "nobody knows it");
        inventory.created(&uid, &id, SystemTime::now());
        inventory.stands_at(&id, Path::new("kubepods/one"));
        let word = Observation {
            pod: Some(uid.clone()),
            name: "runner".into(),
            image: None,
            exit: None,
            started: None,
            finished: None,
        };
        inventory.learn(Evidence::Container { id: id.clone(), word, by: EvidenceSource::Cri });
        for used in [7, 9] {
            fs::write(group.join("cpu.stat"), format!("usage_usec {used}\n")).unwrap();
            let before_ns = now_ns();
            let (at_ns, usage) = reader.read(&uid, "runner").unwrap();
            assert!(at_ns >= before_ns);
            assert_eq!(usage.cpu.usage_ns, Some(used * 1000));
            assert_eq!(usage.memory.peak_bytes, None, "no file, no value");
        }
        assert!(reader.read(&uid, "dind").is_none());
        fs::remove_dir_all(&group).unwrap();
        assert!(reader.read(&uid, "runner").is_none(), "its cgroup is gone");
        inventory.ended(&id);
        assert!(reader.read(&uid, "runner").is_none());
    }
}

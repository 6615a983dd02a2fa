//! Names of block devices: `MAJ:MIN` is what cgroups count by, `nvme0n1` what people know.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use ephemon_model::node::NodeRoot;

/// Devices a node may have before further ones go by number only.
const MAX_DEVICES: usize = 4096;

/// Bytes of a `uevent` file that are looked at; real ones have about a hundred.
const MAX_UEVENT: u64 = 4096;

/// What is known of the names of devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceNames(Arc<Names>);

/// By device number; nothing where the number is all that is known.
type Names = HashMap<(u32, u32), Option<Box<str>>>;

/// Reads names from the node, each number once.
#[derive(Debug)]
pub(super) struct Devices {
    node: NodeRoot,
    names: DeviceNames,
}

// === impl DeviceNames ===

impl DeviceNames {
    /// Takes names by device number. A name that two numbers claim is given to neither: the series
    /// would be the same.
    pub fn new(names: impl IntoIterator<Item = ((u32, u32), String)>) -> Self {
        let mut known = HashMap::new();
        let mut claims: HashMap<Box<str>, u32> = HashMap::new();
        for (number, name) in names {
            let name = name.into_boxed_str();
            *claims.entry(name.clone()).or_default() += 1;
            known.insert(number, Some(name));
        }
        for name in known.values_mut() {
            if name.as_ref().is_some_and(|name| claims.get(name) != Some(&1)) {
                *name = None;
            }
        }
        Self(Arc::new(known))
    }

    /// The device's name; none where its number is all that is known.
    pub(super) fn name(&self, major: u32, minor: u32) -> Option<&str> {
        self.0.get(&(major, minor))?.as_deref()
    }
}

// === impl Devices ===

impl Devices {
    pub(super) fn new(node: NodeRoot) -> Self {
        let names = DeviceNames::default();
        Self { node, names }
    }

    /// The names of these devices, reading those not met before.
    pub(super) fn names(&mut self, numbers: impl IntoIterator<Item = (u32, u32)>) -> DeviceNames {
        let unmet: HashSet<_> =
            numbers.into_iter().filter(|number| !self.names.0.contains_key(number)).collect();
        let room = MAX_DEVICES.saturating_sub(self.names.0.len());
        if !unmet.is_empty() && room > 0 {
            let known = Arc::make_mut(&mut self.names.0);
            for number in unmet.into_iter().take(room) {
                let taken = |name: &str| known.values().flatten().any(|other| **other == *name);
                let name = read(&self.node, number).filter(|name| !taken(name));
                known.insert(number, name);
            }
        }
        self.names.clone()
    }
}

/// `DEVNAME` of the device's `uevent`; any failure leaves the device with its number.
fn read(node: &NodeRoot, (major, minor): (u32, u32)) -> Option<Box<str>> {
    let path = node.join(format!("sys/dev/block/{major}:{minor}/uevent"));
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_UEVENT).read_to_string(&mut text).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    (!name.is_empty()).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn node_with(devices: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (number, uevent) in devices {
            let dir = root.path().join("sys/dev/block").join(number);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("uevent"), uevent).unwrap();
        }
        root
    }

    #[test]
    fn a_device_goes_by_its_name_or_else_by_its_number() {
        let root = node_with(&[
            ("259:0", b"MAJOR=259\nMINOR=0\nDEVNAME=nvme0n1\nDEVTYPE=disk\n"),
            ("8:0", b"MAJOR=8\n"),
            ("8:16", b"DEVNAME=\n"),
            ("8:32", b"DEVNAME=\xff\xfe\n"),
        ]);
        let mut devices = Devices::new(NodeRoot::new(root.path()));
        let names = devices.names([(259, 0), (8, 0), (8, 16), (8, 32), (8, 48)]);
        assert_eq!(names.name(259, 0), Some("nvme0n1"));
        for minor in [0, 16, 32, 48] {
            assert_eq!(names.name(8, minor), None);
        }
    }

    #[test]
    fn a_device_is_read_once_and_a_name_is_given_once() {
        let root = node_with(&[("8:0", b"DEVNAME=sda\n")]);
        let mut devices = Devices::new(NodeRoot::new(root.path()));
        assert_eq!(devices.names([(8, 0)]).name(8, 0), Some("sda"));

        let uevent = root.path().join("sys/dev/block/8:0/uevent");
        fs::write(uevent, "DEVNAME=sdz\n").unwrap();
        let other = root.path().join("sys/dev/block/8:16");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("uevent"), "DEVNAME=sda\n").unwrap();
        let names = devices.names([(8, 0), (8, 16)]);
        assert_eq!(names.name(8, 0), Some("sda"));
        assert_eq!(names.name(8, 16), None);
    }

    #[test]
    fn a_name_that_two_numbers_claim_is_given_to_neither() {
        let names = [((8, 0), "sda"), ((8, 16), "sda"), ((8, 32), "sdc")];
        let names = DeviceNames::new(names.map(|(number, name)| (number, name.to_owned())));
        assert_eq!(names.name(8, 0), None);
        assert_eq!(names.name(8, 16), None);
        assert_eq!(names.name(8, 32), Some("sdc"));
    }
}

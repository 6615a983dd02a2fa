//! Values that containers' inits and the hook wrote for us in a pod's shared volume. A look at them
//! comes before a line that is newer than the last look: who prints a value was told it before.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ephemon_journal::{Directory, VOLUME};
use ephemon_mask::job::{JobMasks, Mode};
use ephemon_mask::shared::{MAX_FILE_BYTES, MAX_LINE_BYTES, Told, parse};
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;

/// The directory below the volume's root.
const MASKS: &str = "masks";
/// They are looked at after this time, whatever the lines' own times are: clocks are set.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Most files of one pod, one a container; beyond it a value counts as lost.
const MAX_FILES: usize = 512;
/// Most bytes of all of them: several times what the values that a pod may tell are there.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// The values of all pods whose lines are read.
#[derive(Debug)]
pub(super) struct VolumeMasks {
    node: NodeRoot,
    kubelet_root: PathBuf,
    pods: HashMap<PodUid, Pod>,
}

#[derive(Debug)]
struct Pod {
    directory: Option<Directory>,
    files: HashMap<String, Tail>,
    looked: Instant,
    /// Everything that was told before this moment of the wall clock is known; nanoseconds since
    /// 1970.
    seen_ns: u64,
    /// A value is not known, and that is said.
    lost: bool,
}

/// One container's file.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Behind the last whole line that was read. What follows is not kept: a job decides how much of a
    /// line without an end stands in how many files.
    offset: u64,
    /// How long it was when it was read last.
    length: u64,
}

// === impl VolumeMasks ===

impl VolumeMasks {
    /// `kubelet_root` as the node has it.
    pub(super) fn new(node: NodeRoot, kubelet_root: impl Into<PathBuf>) -> Self {
        Self { node, kubelet_root: kubelet_root.into(), pods: HashMap::new() }
    }

    /// Adds to `masks` what was told in the pod before a line of this time. `clock`: the wall
    /// clock's time. Whether there was something new.
    pub(super) fn look(
        &mut self,
        uid: &PodUid,
        masks: &JobMasks,
        at_ns: u64,
        now: Instant,
        clock: impl FnOnce() -> u64,
    ) -> bool {
        if masks.mode() != Mode::Masked {
            return false;
        }
        if !self.pods.contains_key(uid) {
            self.pods.insert(uid.clone(), Pod::new(now));
        }
        let Self { node, kubelet_root, pods } = self;
        let Some(pod) = pods.get_mut(uid) else { return false };
        // Whoever masked a value that was told had it from here, or it is not to be had.
        let is_due = masks.is_starred() && pod.directory.is_none();
        let is_late = is_due || now.saturating_duration_since(pod.looked) >= LOOK_INTERVAL;
        if pod.lost || (at_ns < pod.seen_ns && !is_late) {
            return false;
        }
        let seen_ns = clock();
        // Of a line that is of a time to come there would be no end of looks.
        if at_ns > seen_ns && !is_late && pod.seen_ns != 0 {
            return false;
        }
        (pod.looked, pod.seen_ns) = (now, seen_ns);
        let before = masks.bytes();
        let volume = || node.empty_dir(kubelet_root, uid, VOLUME);
        if let Err(error) = pod.open(volume, masks).and_then(|()| pod.read(masks)) {
            pod.lose(uid, masks, &error);
        }
        masks.bytes() > before
    }

    /// The pod's last log is done with.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
    }
}

// === impl Pod ===

impl Pod {
    fn new(now: Instant) -> Self {
        Self { directory: None, files: HashMap::new(), looked: now, seen_ns: 0, lost: false }
    }

    /// Opens the directory where that is not done.
    fn open(&mut self, volume: impl FnOnce() -> PathBuf, masks: &JobMasks) -> io::Result<()> {
        if self.directory.is_none() {
            // Not there before the first container that tells one, and none of pods without a hook.
            match Directory::open(&volume(), MASKS) {
                Ok(directory) => self.directory = Some(directory),
                Err(error) if error.kind() == ErrorKind::NotFound && !masks.is_starred() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lose(&mut self, uid: &PodUid, masks: &JobMasks, why: &io::Error) {
        (self.lost, self.directory, self.files) = (true, None, HashMap::new());
        masks.miss();
        tracing::warn!(
            pod = %uid,
            "not all values to mask that were told in the pod are known: its volume's directory \
             `masks` cannot be read: {why}. Mount the volume `ephemon` in every container of the job, \
             and run `ephemon install` as root of the node's user namespace"
        );
    }

    /// Reads what was added; an error says why a value is not known.
    fn read(&mut self, masks: &JobMasks) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        if directory.is_replaced()? {
            return Err(io::Error::other("something else has taken its place"));
        }
        let names = directory.names()?;
        if names.cut {
            return Err(io::Error::other("there are too many names in it"));
        }
        for name in names.all {
            if self.files.contains_key(&name) {
                continue;
            }
            if self.files.len() >= MAX_FILES {
                return Err(io::Error::other("the volume has too many files of them"));
            }
            match directory.open_journal(&name) {
                Ok(opened) => {
                    let tail = Tail { file: opened.file, offset: 0, length: 0 };
                    self.files.insert(name, tail);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes: u64 = 0;
        for tail in self.files.values_mut() {
            bytes = bytes.saturating_add(tail.file.metadata()?.len());
            if bytes > MAX_BYTES {
                return Err(io::Error::other("its files are too long"));
            }
            tail.read(masks)?;
        }
        Ok(())
    }
}

// === impl Tail ===

impl Tail {
    fn read(&mut self, masks: &JobMasks) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < self.length {
            return Err(io::Error::other("one of its files was cut short"));
        }
        if length == self.length {
            return Ok(());
        }
        if length > MAX_FILE_BYTES {
            return Err(io::Error::other("a file of them is too long"));
        }
        self.length = length;
        let mut text = Vec::new();
        let mut at = self.offset;
        let mut buffer = vec![0; BUFFER_BYTES];
        while at < length && !masks.overflowed() {
            let count = match self.file.read_at(&mut buffer, at) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            at = at.saturating_add(count as u64);
            text.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let whole = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
            text.drain(..whole)
                .as_slice()
                .split(|byte| *byte == b'\n')
                .try_for_each(|line| take(line, masks))?;
            self.offset = self.offset.saturating_add(whole as u64);
            if text.len() > MAX_LINE_BYTES {
                return Err(io::Error::other("a value is too long"));
            }
        }
        Ok(())
    }
}

fn take(line: &[u8], masks: &JobMasks) -> io::Result<()> {
    match parse(line) {
        // Too many is remembered by the masks themselves.
        Some(Told::Value(value)) => drop(masks.add([value.as_slice()])),
        Some(Told::Lost) => return Err(io::Error::other("one of them could not be written")),
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use ephemon_mask::shared::SharedMasks;
    use tempfile::TempDir;

    use super::*;

    struct Rig {
        _root: TempDir,
        uid: PodUid,
        directory: PathBuf,
        masks: JobMasks,
        volume: VolumeMasks,
        start: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let node = NodeRoot::new(root.path());
            let kubelet = Path::new("/var/lib/kubelet");
            let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
            let volume = node.empty_dir(kubelet, &uid, VOLUME);
            fs::create_dir_all(&volume).unwrap();
            let directory = volume.join(MASKS);
            let (masks, start) = (JobMasks::new(Mode::Masked), Instant::now());
            let volume = VolumeMasks::new(node, kubelet);
            Self { _root: root, uid, directory, masks, volume, start }
        }

        fn tell(&self, container: &str, value: &str) {
            let path = self.directory.join(format!("{container}.jsonl"));
            SharedMasks::open(&path).unwrap().tell(Some(value.as_bytes()));
        }

        /// How many values are known when a line of `at_ns` comes, at `clock_ns`.
        fn line(&mut self, at_ns: u64, clock_ns: u64) -> usize {
            self.volume.look(&self.uid, &self.masks, at_ns, self.start, || clock_ns);
            self.masks.count()
        }
    }

    #[test]
    fn what_is_told_in_any_container_is_known_before_a_later_line() {
        let mut rig = Rig::new();
        assert_eq!(rig.line(1, 2), 0, "nobody has told anything");
        rig.tell("job", "hunter2");
        assert_eq!(rig.line(3, 4), 1);
        rig.tell("job", "opensesame");
        rig.tell("_hook", "kaffeeklatsch");
        assert_eq!(rig.line(2, 5), 1, "a line of before needs no look");
        assert_eq!(rig.line(6, 7), 3);
        assert!(rig.masks.is_proven());
    }

    #[test]
    fn a_value_that_was_masked_where_it_was_told_is_known_from_the_volume_or_not_at_all() {
        let stars = [b"***".as_slice()];
        let mut with = Rig::new();
        with.tell("job", "hunter2");
        with.masks.add(stars).unwrap();
        assert_eq!(with.line(1, 2), 1);
        assert!(with.masks.is_proven());
        let mut without = Rig::new();
        without.line(1, 2);
        without.masks.add(stars).unwrap();
        assert!(without.masks.is_proven());
        without.line(1, 2);
        assert!(!without.masks.is_proven(), "also before a line that needs no look");
    }

    #[test]
    fn a_line_comes_in_parts() {
        let mut rig = Rig::new();
        fs::create_dir(&rig.directory).unwrap();
        let path = rig.directory.join("job.jsonl");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(b"\"6875").unwrap();
        assert_eq!(rig.line(1, 2), 0);
        file.write_all(b"6e74\"\n").unwrap();
        assert_eq!(rig.line(3, 4), 1);
        assert!(rig.masks.is_proven());
    }

    #[test]
    fn what_cannot_be_read_is_a_value_that_is_not_known() {
        let garbage = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            fs::write(rig.directory.join("job.jsonl"), "garbage\n").unwrap();
        };
        let link = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            std::os::unix::fs::symlink("/dev/zero", rig.directory.join("job.jsonl")).unwrap();
        };
        let endless = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            let file = File::create(rig.directory.join("job.jsonl")).unwrap();
            file.set_len(MAX_FILE_BYTES * 4).unwrap();
        };
        let lost = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            SharedMasks::open(&rig.directory.join("job.jsonl")).unwrap().tell(None);
        };
        // Lines without an end in many files: nothing of them is kept.
        let unended = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            for number in 0..20 {
                let file = File::create(rig.directory.join(format!("a{number}.jsonl"))).unwrap();
                file.set_len(700 * 1024).unwrap();
            }
        };
        let crowded = |rig: &Rig| {
            fs::create_dir(&rig.directory).unwrap();
            for number in 0..5000 {
                File::create(rig.directory.join(format!("{number}.junk"))).unwrap();
            }
        };
        let faults: [fn(&Rig); 6] = [garbage, link, endless, lost, unended, crowded];
        for (at, fault) in faults.into_iter().enumerate() {
            let mut rig = Rig::new();
            fault(&rig);
            rig.line(1, 2);
            assert!(!rig.masks.is_proven(), "{at}");
            let pod = rig.volume.pods.get(&rig.uid).unwrap();
            assert!(pod.files.is_empty() && pod.directory.is_none(), "{at}: nothing stays open");
        }
    }

    #[test]
    fn lines_that_come_after_the_kubelet_has_removed_the_volume_are_masked_by_what_was_told() {
        let mut rig = Rig::new();
        rig.tell("job", "hunter2");
        assert_eq!(rig.line(1, 2), 1);
        fs::remove_dir_all(rig.directory.parent().unwrap()).unwrap();
        assert_eq!(rig.line(3, 4), 1);
        assert!(rig.masks.is_proven());
    }

    #[test]
    fn what_was_read_and_is_no_longer_there_may_hide_what_comes_after_it() {
        let cut = |rig: &Rig| fs::write(rig.directory.join("job.jsonl"), "").unwrap();
        let moved = |rig: &Rig| {
            fs::rename(&rig.directory, rig.directory.with_extension("old")).unwrap();
            fs::create_dir(&rig.directory).unwrap();
        };
        let faults: [fn(&Rig); 2] = [cut, moved];
        for (at, fault) in faults.into_iter().enumerate() {
            let mut rig = Rig::new();
            rig.tell("job", "hunter2");
            assert_eq!(rig.line(1, 2), 1);
            assert!(rig.masks.is_proven());
            fault(&rig);
            rig.line(3, 4);
            assert!(!rig.masks.is_proven(), "{at}");
        }
    }
}

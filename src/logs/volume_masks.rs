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
    recent: Option<Recent>,
}

/// The pod of the last look: the next line is nearly always of the same, and needs none.
#[derive(Debug)]
struct Recent {
    uid: PodUid,
    looked: Instant,
    seen_ns: u64,
    has_directory: bool,
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
        Self { node, kubelet_root: kubelet_root.into(), pods: HashMap::new(), recent: None }
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
        if self.recent.as_ref().is_some_and(|recent| recent.covers(uid, masks, at_ns, now)) {
            return false;
        }
        if !self.pods.contains_key(uid) {
            self.pods.insert(uid.clone(), Pod::new(now));
        }
        let Self { node, kubelet_root, pods, recent } = self;
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
        let has_directory = pod.directory.is_some();
        *recent = Some(Recent { uid: uid.clone(), looked: now, seen_ns, has_directory });
        masks.bytes() > before
    }

    /// The pod's last log is done with.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
        self.recent.take_if(|recent| recent.uid == *pod);
    }
}

// === impl Recent ===

impl Recent {
    /// Whether the last look was at this pod, and has seen all that was told before a line of this time.
    fn covers(&self, uid: &PodUid, masks: &JobMasks, at_ns: u64, now: Instant) -> bool {
        self.uid.is_same(uid)
            && at_ns < self.seen_ns
            && (self.has_directory || !masks.is_starred())
            && now.saturating_duration_since(self.looked) < LOOK_INTERVAL
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
             and run `ephemon install` as user 0"
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
mod tests;

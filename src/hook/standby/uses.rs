//! Which images the container actions of a job use: by the job's message in the runner's log, and the
//! actions that the runner has downloaded before `prepare_job` (`_work/_actions/OWNER/REPOSITORY/REF`,
//! beside it `REF.completed` once it is whole: actions/runner, `ActionManager.cs`). The files are of
//! whoever wrote the actions: they are read within bounds, and never outside that directory.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use ephemon_contract::{action_images, plain_file};

use super::manifest::Manifest;
use super::message;
use super::step::{Reference, Step};
use crate::settings::Settings;

/// Names of an action's manifest, in the runner's order.
const MANIFESTS: [&str; 2] = ["action.yml", "action.yaml"];
/// Most manifests that are read, and most bytes of each.
const MANIFESTS_MAX: usize = 128;
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
/// Most bytes of all of them.
const BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How deep composite actions can be (actions/runner, `Constants.CompositeActionsMaxDepth`).
const DEPTH_MAX: usize = 10;
/// Most uses that are looked for.
const USES_MAX: usize = 256;
/// Most entries of directories that are looked at, and how deep, where no message says what to look
/// for: the name of a branch has several parts.
const ENTRIES_MAX: usize = 2048;
const LEVELS_MAX: usize = 6;
/// What the runner writes beside an action that it has downloaded.
const COMPLETED: &str = ".completed";

/// The uses of images in a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// In the order of the steps where it is known.
    pub(super) list: Vec<Use>,
    /// Whether every entry is one use; else each is an image that some step may use.
    pub(super) is_counted: bool,
}

/// A use of an image by a container action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) image: String,
    /// Whether the action or the step names an entrypoint.
    pub(super) entry_point: bool,
}

/// The actions of a job.
struct Actions {
    root: File,
    left: Cell<usize>,
    bytes: Cell<u64>,
    until: Instant,
}

/// Collects uses by the stages in which the runner runs them.
#[derive(Default)]
struct Stages {
    before: Vec<Use>,
    main: Vec<Use>,
    after: Vec<Use>,
}

// === impl Uses ===

impl Uses {
    /// Looks for them. What cannot be read, or not in time, is left out.
    pub(super) fn of(settings: &Settings, until: Instant) -> Self {
        let actions = settings.work.as_deref().map(|work| work.join("_actions"));
        let actions = actions.as_deref().and_then(|path| Actions::open(path, until));
        match (message::steps(settings), &actions) {
            (Some(steps), actions) => {
                let mut stages = Stages::default();
                for step in &steps {
                    stages.step(step, actions.as_ref(), 0);
                }
                Self { list: stages.in_order(), is_counted: true }
            }
            (None, Some(actions)) => Self { list: actions.all(), is_counted: false },
            (None, None) => Self::default(),
        }
    }

    /// The images, as the agent that pulls ahead is told of them; `policy` is the one that their
    /// containers will have. The agent knows what the kubelet does without one: what it would pull only
    /// then is left out, and everything of which the kubelet pulls nothing.
    pub(crate) fn images(&self, policy: Option<&str>) -> Option<String> {
        let is_pulled = |image: &&str| match policy {
            Some("Never") => false,
            Some("IfNotPresent") => !action_images::is_always_pulled(image),
            _ => true,
        };
        let images = self.list.iter().map(|one| one.image.as_str());
        action_images::to_variable(images.filter(is_pulled))
    }
}

// === impl Use ===

impl Use {
    /// `None` for what is no name of an image.
    fn new(image: &str, entry_point: bool) -> Option<Self> {
        let fits = (1..=512).contains(&image.len())
            && image.bytes().all(|byte| byte.is_ascii_graphic())
            && !image.contains("${{");
        fits.then(|| Self { image: image.to_owned(), entry_point })
    }
}

// === impl Stages ===

impl Stages {
    fn step(&mut self, step: &Step, actions: Option<&Actions>, depth: usize) {
        match &step.reference {
            Reference::Image(image) => self.main.extend(Use::new(image, step.entry_point)),
            Reference::Action(path) if depth < DEPTH_MAX => {
                if let Some(manifest) = actions.and_then(|actions| actions.manifest(path)) {
                    self.action(&manifest, step.entry_point, actions, depth);
                }
            }
            Reference::Action(_) | Reference::Other => {}
        }
        for stage in [&mut self.before, &mut self.main, &mut self.after] {
            stage.truncate(USES_MAX);
        }
    }

    fn action(
        &mut self,
        manifest: &Manifest,
        entry_point: bool,
        actions: Option<&Actions>,
        depth: usize,
    ) {
        match manifest {
            Manifest::Container { image, before, main, after } => {
                let of = |entry_point: bool| Use::new(image, entry_point);
                self.before.extend(before.then(|| of(true)).flatten());
                self.main.extend(of(*main || entry_point));
                self.after.extend(after.then(|| of(true)).flatten());
            }
            Manifest::Composite(steps) => {
                for step in steps {
                    self.step(step, actions, depth + 1);
                }
            }
        }
    }

    fn in_order(self) -> Vec<Use> {
        let after = self.after.into_iter().rev();
        self.before.into_iter().chain(self.main).chain(after).take(USES_MAX).collect()
    }
}

// === impl Actions ===

impl Actions {
    fn open(directory: &Path, until: Instant) -> Option<Self> {
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
        let mut how = OpenOptions::new();
        how.read(true).custom_flags(flags.bits().cast_signed());
        let (left, bytes) = (Cell::new(MANIFESTS_MAX), Cell::new(BYTES_MAX));
        Some(Self { root: how.open(directory).ok()?, left, bytes, until })
    }

    /// What runs an action, by its path below the directory of actions. A link in it leads nowhere
    /// else.
    fn manifest(&self, path: &str) -> Option<Manifest> {
        self.left.set(self.left.get().checked_sub(1)?);
        if Instant::now() >= self.until {
            return None;
        }
        let open = |name| plain_file::read_in_root(&self.root, &format!("{path}/{name}")).ok();
        let file = MANIFESTS.into_iter().find_map(open)?;
        let mut text = String::new();
        let read = file.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
        self.bytes.set(self.bytes.get().checked_sub(read as u64)?);
        (read as u64 <= MANIFEST_BYTES_MAX).then(|| Manifest::parse(&text))?
    }

    /// Every use of the actions that are there, where nobody says which of them the job's steps name.
    fn all(&self) -> Vec<Use> {
        let mut found = Vec::new();
        let mut left = ENTRIES_MAX;
        self.completed("", LEVELS_MAX, &mut left, &mut found);
        found.sort();
        let mut stages = Stages::default();
        for path in &found {
            if let Some(manifest) = self.manifest(path) {
                stages.action(&manifest, false, Some(self), 0);
            }
        }
        stages.in_order()
    }

    /// The paths of whole actions below a directory. An action's own directories are not looked at.
    fn completed(&self, below: &str, levels: usize, left: &mut usize, found: &mut Vec<String>) {
        let directory = if below.is_empty() { "." } else { below };
        let flags = rustix::fs::OFlags::RDONLY
            | rustix::fs::OFlags::DIRECTORY
            | rustix::fs::OFlags::CLOEXEC;
        let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
        let mode = rustix::fs::Mode::empty();
        let opened = rustix::fs::openat2(&self.root, directory, flags, mode, resolve);
        let Ok(entries) = opened.and_then(|held| rustix::fs::Dir::read_from(&held)) else { return };
        let mut names = Vec::new();
        for entry in entries.flatten() {
            let Some(rest) = left.checked_sub(1) else { break };
            *left = rest;
            if let Ok(name) = entry.file_name().to_str()
                && !name.starts_with('.')
            {
                names.push(name.to_owned());
            }
        }
        let path = |name: &str| {
            if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
        };
        for name in &names {
            let whole = format!("{name}{COMPLETED}");
            if names.contains(&whole) {
                found.push(path(name));
            } else if levels > 1 && !name.ends_with(COMPLETED) {
                self.completed(&path(name), levels - 1, left, found);
            }
        }
    }
}

/// For tests: files of a runner.
#[cfg(test)]
pub(super) fn put(work: &Path, action: &str, manifest: &str) {
    let directory = work.join("_actions").join(action);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("action.yml"), manifest).unwrap();
}

#[cfg(test)]
mod tests;

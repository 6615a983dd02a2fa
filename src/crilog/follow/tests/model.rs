//! The follower against a model of a kubelet and a runtime, in any order.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{Node, Told};

/// What the node does, or the agent.
#[derive(Debug, Clone)]
enum Act {
    Write {
        stderr: bool,
        full: bool,
        length: usize,
    },
    /// The kubelet's steps: delete the oldest, compress, rename, reopen.
    Rotate {
        keep: usize,
    },
    Read,
    Ack {
        share: prop::sample::Index,
    },
    /// kill -9 and a new agent from the last checkpoint; the node may act meanwhile.
    Restart(Vec<Act>),
    /// Copied and truncated, as no kubelet does.
    Truncate,
    /// The file is replaced by a new one.
    Replace,
}

/// What must come of what was written.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a doubt of its own")]
struct Model {
    stamp: u64,
    /// The text so far of the unfinished line of each stream.
    open: [Vec<u8>; 2],
    /// Whole lines that were written.
    lines: Vec<Vec<u8>>,
    file: u32,
    rotation: u64,
    /// Something was deleted or cut that perhaps nobody had read.
    may_lose: bool,
    /// What was written while the agent was down is perhaps gone without a trace.
    unseen: bool,
    /// Something was deleted that a next life may have to read again.
    deleted: bool,
    /// A file was empty when the agent saw it last, and rotated before it saw it again: it is read,
    /// but nothing proves that it is the same.
    unprovable: bool,
}

impl Model {
    fn act(&mut self, node: &Node, act: &Act, down: bool) {
        let directory = node.path("job");
        let live = directory.join("0.log");
        match act {
            Act::Write { stderr, full, length } => {
                self.stamp += 1;
                let lane = usize::from(*stderr);
                let text = format!("{:06}{}", self.stamp, "x".repeat(*length));
                let (stream, tag) = (["stdout", "stderr"][lane], if *full { "F" } else { "P" });
                let stamp = format!("2026-11-23T12:16:41.{:09}Z", self.stamp);
                node.write("job", "0.log", format!("{stamp} {stream} {tag} {text}\n"));
                self.open[lane].extend(text.bytes());
                if *full {
                    let whole = std::mem::take(&mut self.open[lane]);
                    self.lines.push(whole);
                }
            }
            // The kubelet rotates by size.
            Act::Rotate { .. } if fs::metadata(&live).unwrap().len() == 0 => {}
            Act::Rotate { keep } => {
                let mut rotated: Vec<_> = fs::read_dir(&directory)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter(|name| name != "0.log")
                    .collect();
                rotated.sort();
                while rotated.len() > *keep {
                    fs::remove_file(directory.join(rotated.remove(0))).unwrap();
                    self.may_lose |= down;
                    self.deleted = true;
                }
                for name in rotated.iter().filter(|name| name.strip_suffix(".gz").is_none()) {
                    let text = fs::read(directory.join(name)).unwrap();
                    let packed = fs::File::create(directory.join(format!("{name}.tmp"))).unwrap();
                    let mut encoder = GzEncoder::new(packed, Compression::fast());
                    encoder.write_all(&text).unwrap();
                    encoder.finish().unwrap();
                    let gz = directory.join(format!("{name}.gz"));
                    fs::rename(directory.join(format!("{name}.tmp")), gz).unwrap();
                    fs::remove_file(directory.join(name)).unwrap();
                }
                self.rotation += 1;
                let name = format!("0.log.20261123-{:06}", self.rotation);
                fs::rename(&live, directory.join(name)).unwrap();
                node.write("job", "0.log", "");
                self.file += 1;
            }
            Act::Truncate => {
                fs::File::options().write(true).open(&live).unwrap().set_len(0).unwrap();
                self.may_lose = true;
                self.unseen |= down;
            }
            Act::Replace => {
                fs::remove_file(&live).unwrap();
                node.write("job", "0.log", "");
                self.may_lose |= down;
                self.unseen |= down;
                self.deleted = true;
                // It may have been replaced before, between two looks: no line goes on over that.
                self.unprovable = true;
                let open = self.open.iter_mut().map(std::mem::take);
                self.lines.extend(open.filter(|rest| !rest.is_empty()));
            }
            Act::Read | Act::Ack { .. } | Act::Restart(_) => {}
        }
    }
}

/// The node, the model, and all that was ever handed over.
struct World {
    node: Node,
    model: Model,
    all: Vec<Told>,
    ids: HashMap<u128, Vec<u8>>,
    this_life: HashSet<u128>,
    /// How much was handed over before this life.
    last_life: usize,
    use_inotify: bool,
}

impl World {
    fn new(use_inotify: bool) -> Self {
        let node = Node::new(use_inotify);
        node.write("job", "0.log", "");
        let (all, ids, this_life) = (Vec::new(), HashMap::new(), HashSet::new());
        Self { node, model: Model::default(), all, ids, this_life, last_life: 0, use_inotify }
    }

    fn read(&mut self) -> Result<(), TestCaseError> {
        self.node.read();
        for told in self.node.told.drain(..) {
            prop_assert!(self.this_life.insert(told.uid), "twice within one life: {told:?}");
            let text = self.ids.entry(told.uid).or_insert_with(|| told.text.clone());
            // Of a line whose end is lost, what is left is the same line.
            let (short, long) = if told.text.len() < text.len() {
                (&told.text, &*text)
            } else {
                (&*text, &told.text)
            };
            let same = if self.model.may_lose { long.starts_with(short) } else { long == short };
            prop_assert!(same, "one id for two lines");
            self.all.push(told);
        }
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Read => self.read()?,
            Act::Ack { share } => {
                let told = self.all.get(self.last_life..).unwrap();
                if !told.is_empty() {
                    self.node.follower.ack(&told[share.index(told.len())].position);
                }
            }
            Act::Restart(meanwhile) => self.restart(meanwhile)?,
            act => {
                // It looks at a file now and then; what it never saw it cannot miss.
                self.node.follower.about_to_be_lost();
                self.model.act(&self.node, act, false);
                // The kubelet is slower than inotify: the agent hears of it before the next step.
                if matches!(act, Act::Rotate { .. } | Act::Replace | Act::Truncate) {
                    let follower = &mut self.node.follower;
                    follower.rescan_at = std::time::Instant::now();
                    follower.turn(&mut |_| super::Choice::Unsure, 0, &mut |_| {});
                }
            }
        }
        Ok(())
    }

    fn restart(&mut self, meanwhile: &[Act]) -> Result<(), TestCaseError> {
        let Self { node, model, .. } = self;
        node.follower.about_to_be_lost();
        model.may_lose |= model.deleted;
        let saved = node.follower.checkpoints();
        let root = node.root.path().to_owned();
        // It is down: a removed file is held by nobody, and its inode may soon be another's.
        node.follower = super::follower(&root, false, super::Checkpoints::none());
        let empty = fs::metadata(node.path("job").join("0.log")).unwrap().len() == 0;
        let file = model.file;
        for act in meanwhile {
            model.act(node, act, true);
        }
        model.unprovable |= empty && model.file > file;
        saved.save(&root).unwrap();
        node.follower = super::follower(&root, self.use_inotify, super::Checkpoints::load(&root));
        self.this_life.clear();
        self.last_life = self.all.len();
        self.read()
    }

    fn end(&mut self) -> Result<(), TestCaseError> {
        self.node.end("job");
        self.read()?;
        for told in &self.all[self.last_life..] {
            self.node.follower.ack(&told.position);
        }
        let [log] = self.node.follower.finished().try_into().unwrap();
        let Self { model, all, .. } = self;
        let got: HashSet<&[u8]> = all.iter().map(|told| &*told.text).collect();
        if model.may_lose {
            // What came is what was written, and a loss is never called complete.
            let whole = model.lines.iter().all(|line| got.contains(&**line));
            prop_assert!(whole || model.unseen || !log.complete, "{log:?}");
            return Ok(());
        }
        prop_assert!(log.complete || model.unprovable, "{log:?}");
        prop_assert_eq!(log.accounting.all_lost_bytes(), 0);
        let open = model.open.iter().filter(|rest| !rest.is_empty());
        let written: Vec<_> = model.lines.iter().chain(open).collect();
        for line in &written {
            prop_assert!(got.contains(&***line), "lost {line:?} of {:?}", super::texts(all));
        }
        prop_assert_eq!(got.len(), written.len(), "made up");
        Ok(())
    }
}

fn run(acts: &[Act], use_inotify: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(use_inotify);
    world.read()?;
    for act in acts {
        world.act(act)?;
    }
    world.end()
}

fn node_acts(truncate: bool) -> impl Strategy<Value = Act> {
    let weight = u32::from(truncate);
    prop_oneof![
        8 => (any::<bool>(), prop::bool::weighted(0.7), 0..60_usize)
            .prop_map(|(stderr, full, length)| Act::Write { stderr, full, length }),
        3 => (1..4_usize).prop_map(|keep| Act::Rotate { keep }),
        weight => Just(Act::Truncate),
        1 => Just(Act::Replace),
    ]
}

fn acts(truncate: bool) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => node_acts(truncate),
        3 => Just(Act::Read),
        2 => any::<prop::sample::Index>().prop_map(|share| Act::Ack { share }),
        1 => prop::collection::vec(node_acts(truncate), 0..6).prop_map(Act::Restart),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #[test]
    fn nothing_is_lost_that_need_not_be(acts in acts(false), use_inotify: bool) {
        run(&acts, use_inotify)?;
    }

    #[test]
    fn what_is_truncated_harms_nothing_else(acts in acts(true), use_inotify: bool) {
        run(&acts, use_inotify)?;
    }
}

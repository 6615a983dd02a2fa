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
    Write { stderr: bool, full: bool, length: usize },
    /// The kubelet's steps: delete the oldest, compress, rename, reopen.
    Rotate { keep: usize },
    /// Renamed, not yet opened anew.
    Read,
    Ack { share: prop::sample::Index },
    /// kill -9 and a new agent from the last checkpoint; the node may act meanwhile.
    Restart(Vec<Act>),
    /// Copied and truncated, as no kubelet does.
    Truncate,
    /// The file is replaced by a new one.
    Replace,
}

/// What must come of what was written.
#[derive(Default)]
struct Model {
    stamp: u64,
    /// The text so far of the unfinished line of each stream.
    open: [Vec<u8>; 2],
    /// Whole lines that were written, in order, and the number of the file each ended in.
    lines: Vec<(Vec<u8>, u32)>,
    file: u32,
    rotation: u64,
    /// Something was deleted or cut that perhaps nobody had read.
    may_lose: bool,
    /// What was written while the agent was down is perhaps gone without a trace.
    unseen: bool,
    /// Something was deleted that a next life may have to read again.
    deleted: bool,
    /// A file was empty when the agent saw it last, and compressed before it saw it again: it is
    /// read, but nothing proves that it is the same.
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
                    let line = std::mem::take(&mut self.open[lane]);
                    self.lines.push((line, self.file));
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
                for name in rotated.iter().filter(|name| !name.ends_with(".gz")) {
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
            }
            Act::Read | Act::Ack { .. } | Act::Restart(_) => {}
        }
    }
}

fn run(acts: &[Act], use_inotify: bool) -> Result<(), TestCaseError> {
    let mut node = Node::new(use_inotify);
    let mut model = Model::default();
    node.write("job", "0.log", "");
    node.read();
    let mut all: Vec<Told> = Vec::new();
    let mut ids: HashMap<u128, Vec<u8>> = HashMap::new();
    let mut this_life: HashSet<u128> = HashSet::new();
    let settle = |node: &mut Node, this_life: &mut HashSet<u128>, ids: &mut HashMap<_, _>, all: &mut Vec<Told>,
                  may_lose: bool| {
        for told in node.told.drain(..) {
            prop_assert!(this_life.insert(told.uid), "twice within one life: {told:?}");
            let text = ids.entry(told.uid).or_insert_with(|| told.text.clone());
            // Of a line whose end is lost, what is left is the same line.
            let (short, long) =
                if told.text.len() < text.len() { (&told.text, &*text) } else { (&*text, &told.text) };
            let same = if may_lose { long.starts_with(short) } else { long == short };
            prop_assert!(same, "one id for two lines");
            all.push(told);
        }
        Ok(())
    };
    let mut last_life = 0;
    for act in acts {
        match act {
            Act::Read => {
                node.read();
                settle(&mut node, &mut this_life, &mut ids, &mut all, model.may_lose)?;
            }
            Act::Ack { share } => {
                if all.len() > last_life {
                    let at = last_life + share.index(all.len() - last_life);
                    node.follower.ack(&all[at].position);
                }
            }
            Act::Restart(meanwhile) => {
                node.follower.about_to_be_lost();
                model.may_lose |= model.deleted;
                let saved = node.follower.checkpoints();
                let empty = fs::metadata(node.path("job").join("0.log")).unwrap().len() == 0;
                let file = model.file;
                for act in meanwhile {
                    model.act(&node, act, true);
                }
                model.unprovable |= empty && model.file > file + 1;
                let root = node.root.path().to_owned();
                saved.save(&root).unwrap();
                node.follower =
                    super::follower(&root, use_inotify, super::Checkpoints::load(&root));
                this_life.clear();
                last_life = all.len();
                node.read();
                settle(&mut node, &mut this_life, &mut ids, &mut all, model.may_lose)?;
            }
            act => {
                // It looks at a file now and then; what it never saw it cannot miss.
                node.follower.about_to_be_lost();
                model.act(&node, act, false);
                // The kubelet is slower than inotify: the agent hears of it before the next step.
                let hold = super::Choice::Unsure;
                if matches!(act, Act::Rotate { .. } | Act::Replace | Act::Truncate) {
                    node.follower.rescan_at = std::time::Instant::now();
                    node.follower.turn(&mut |_| hold, 0, &mut |_| {});
                }
            }
        }
    }
    node.end("job");
    node.read();
    settle(&mut node, &mut this_life, &mut ids, &mut all, model.may_lose)?;
    for told in &all[last_life..] {
        node.follower.ack(&told.position);
    }
    let [log] = node.follower.finished().try_into().unwrap();
    let got: HashSet<&[u8]> = all.iter().map(|told| &*told.text).collect();
    if model.may_lose {
        // What came is what was written, and a loss is never called complete.
        let whole = model.lines.iter().all(|(line, _)| got.contains(&**line));
        prop_assert!(whole || model.unseen || !log.complete, "{log:?}");
        return Ok(());
    }
    prop_assert!(log.complete || model.unprovable, "{log:?}");
    prop_assert_eq!(log.books.all_lost_bytes(), 0);
    for (line, _) in &model.lines {
        let line = String::from_utf8_lossy(line);
        prop_assert!(got.contains(line.as_bytes()), "lost {line:?} of {:?}", node.texts_of(&all));
    }
    for rest in model.open.iter().filter(|rest| !rest.is_empty()) {
        prop_assert!(got.contains(&**rest), "lost: {:?}", String::from_utf8_lossy(rest));
    }
    let written = model.lines.len() + model.open.iter().filter(|rest| !rest.is_empty()).count();
    prop_assert_eq!(got.len(), written, "made up");
    Ok(())
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

//! Log files as the runtime writes them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::time::Duration;

use ephemon_crilog::{Checkpoints, Choice, Follower, LinkDirectories, Options, line};
use ephemon_model::LogFlaw;
use ephemon_model::node::NodeRoot;

/// Longest line that the follower hands over whole here.
const LONGEST: usize = 64;
/// The log of this container is followed.
const CONTAINER: &str = "ci_runner-1_0e269fa4-f505-4963-9096-958063077203/job";

/// A line, as it was handed over: all that a restart must not change.
#[derive(Debug, PartialEq, Eq)]
struct Handed {
    stream: &'static str,
    time_unix_ns: Option<i64>,
    text: Vec<u8>,
    part: u32,
    continues: bool,
    flaw: Option<&'static str>,
    number: u64,
    uid: String,
}

/// Whatever a record is, its bytes are kept.
pub(super) fn line(data: &[u8]) {
    for raw in data.split(|byte| *byte == b'\n') {
        match line::parse(raw) {
            Ok(record) => assert!(record.text.len() <= raw.len(), "a text out of nowhere"),
            Err(malformed) => assert_eq!(malformed.0, raw, "what makes no sense is kept"),
        }
    }
}

/// A link is refused, or leads to one file below the directory that is allowed.
pub(super) fn link(data: &[u8]) {
    let directories = LinkDirectories::new(&NodeRoot::new("/host"), &["/allowed".into()]);
    let link = Path::new(OsStr::from_bytes(data));
    let Some(file) = directories.file(link) else { return };
    let rest = file.strip_prefix("/host/allowed").expect("below the allowed directory");
    let parts: Vec<_> = rest.components().collect();
    assert_eq!(parts.len(), 2, "{}", file.display());
    assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{}", file.display());
    let id = parts[0].as_os_str().to_str().expect("text");
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(parts[1].as_os_str().to_str(), Some(&*format!("{id}-json.log")));
}

/// A file that is there at once and one that grows give the same lines, none of which is too long.
/// The first byte says by how much it grows.
pub(super) fn follower(data: &[u8]) {
    let Some((step, text)) = data.split_first() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join(CONTAINER);
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("0.log");
    fs::write(&file, text).expect("a file");
    let at_once = follow(home.path(), None);
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for handed in &at_once {
        assert!(handed.text.len() <= LONGEST, "{handed:?}");
    }
    let handed: usize = at_once.iter().map(|line| line.text.len()).sum();
    assert!(handed <= text.len(), "{handed} bytes of {}", text.len());
    let whole = text.get(..whole).unwrap_or_default();
    assert!(!at_once.is_empty() || is_partial(whole), "whole records, and no line");

    fs::write(&file, b"").expect("a file");
    let grown = follow(home.path(), Some((&file, text, usize::from(*step).max(1))));
    assert_eq!(at_once, grown, "by steps of {step}");
}

/// Whether no line need come of it: no record ends its line.
fn is_partial(text: &[u8]) -> bool {
    let mut records =
        text.split(|byte| *byte == b'\n').filter(|raw| raw.iter().any(|byte| *byte != 0));
    // Where there are NUL bytes, all of it may be a hole.
    text.contains(&0) || records.all(|raw| line::parse(raw).is_ok_and(|record| !record.full))
}

/// What is handed over of the one log; where there is a text, of a file that it is written to step by
/// step.
fn follow(pods: &Path, grows: Option<(&Path, &[u8], usize)>) -> Vec<Handed> {
    let options = Options {
        max_line_bytes: LONGEST,
        use_inotify: false,
        settle: Duration::MAX,
        orphaned: Duration::MAX,
        ..Options::new(pods)
    };
    let mut follower = Follower::new(options, Checkpoints::none());
    let mut lines = Vec::new();
    let mut turn = || {
        let mut more = true;
        while more {
            let done = follower.turn(&mut |_| Choice::Take, 1 << 20, &mut |line| {
                lines.push(Handed {
                    stream: line.stream.as_str(),
                    time_unix_ns: line.time_unix_ns,
                    text: line.text.to_vec(),
                    part: line.part,
                    continues: line.continues,
                    flaw: line.flaw.map(LogFlaw::as_str),
                    number: line.number,
                    uid: format!("{:?}", line.uid),
                });
            });
            more = done.more;
        }
    };
    let Some((path, text, step)) = grows else {
        turn();
        return lines;
    };
    turn();
    let mut file = fs::OpenOptions::new().append(true).open(path).expect("the file");
    // Not more steps than a fuzzer has time for.
    for piece in text.chunks(step.max(text.len() / 32)) {
        std::io::Write::write_all(&mut file, piece).expect("room");
        turn();
    }
    lines
}

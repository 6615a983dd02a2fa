//! Which containers' final readings were sent. Each is sent once, also if the agent restarts while
//! the cgroup still exists.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ephemon_base::warning::Outage;
use ephemon_model::ContainerId;

/// The file's name.
const NAME: &str = "otlp-finals";
/// Most containers remembered; the cgroups of older ones no longer exist.
const SENT_LIMIT: usize = 8192;
/// Bytes of an id and its line end.
const LINE: usize = ContainerId::LEN + 1;

/// The last containers whose final readings were sent, in memory and in a file with one id per
/// line.
#[derive(Debug)]
pub(super) struct Finals {
    ids: HashSet<ContainerId>,
    order: VecDeque<ContainerId>,
    path: PathBuf,
    /// Number of lines in the file.
    lines: usize,
    unsaved: Outage,
}

// === impl Finals ===

impl Finals {
    /// Loads what an earlier agent left in the state directory. Lines that are not ids are skipped.
    pub(super) fn open(state: &Path) -> Self {
        let path = state.join(NAME);
        let mut finals = Self {
            ids: HashSet::new(),
            order: VecDeque::new(),
            path,
            lines: 0,
            unsaved: Outage::default(),
        };
        let text = read(&finals.path).unwrap_or_default();
        for id in text.lines().filter_map(|line| ContainerId::parse(line).ok()) {
            finals.remember(id);
        }
        // Forces a rewrite at the next change, in case the file ends in the middle of a line.
        finals.lines = usize::MAX;
        finals
    }

    /// Whether the container's final reading was sent.
    pub(super) fn has(&self, id: &ContainerId) -> bool {
        self.ids.contains(id)
    }

    /// Notes that the final readings of these containers were queued.
    pub(super) fn enter(&mut self, ids: Vec<ContainerId>) {
        if ids.is_empty() {
            return;
        }
        let mut text = String::with_capacity(ids.len().saturating_mul(LINE));
        let count = ids.len();
        for id in ids {
            text.push_str(id.as_str());
            text.push('\n');
            self.remember(id);
        }
        match self.save(&text, count) {
            Ok(()) => drop(self.unsaved.end()),
            Err(error) => {
                if self.unsaved.begins() {
                    let path = self.path.display();
                    tracing::warn!(
                        "cannot record in {path} which final readings were sent: {error}; after \
                         a restart some may be sent twice"
                    );
                }
            }
        }
    }

    fn remember(&mut self, id: ContainerId) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > SENT_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Appends lines to the file, or rewrites it when it has become too long.
    fn save(&mut self, text: &str, count: usize) -> io::Result<()> {
        if self.lines.saturating_add(count) <= 2 * SENT_LIMIT {
            OpenOptions::new().append(true).open(&self.path)?.write_all(text.as_bytes())?;
            self.lines += count;
            return Ok(());
        }
        let whole: String = self.order.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.path.with_extension("new");
        File::create(&new)?.write_all(whole.as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.lines = self.order.len();
        Ok(())
    }
}

/// The agent never writes a longer file.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(4 * SENT_LIMIT * LINE).unwrap_or(u64::MAX);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ContainerId {
        ContainerId::parse(&format!("{number:064x}")).unwrap()
    }

    #[test]
    fn what_was_sent_is_known_to_the_next_agent_whatever_else_the_file_says() {
        let state = tempfile::tempdir().unwrap();
        let mut finals = Finals::open(state.path());
        finals.enter(vec![id(1)]);
        finals.enter(vec![id(2)]);
        let path = state.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        fs::write(&path, format!("\u{0}nonsense\n{text}{}", "0".repeat(20))).unwrap();
        let mut finals = Finals::open(state.path());
        assert!(finals.has(&id(1)) && finals.has(&id(2)) && !finals.has(&id(3)));
        finals.enter(vec![id(4)]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3, "written anew");
    }

    #[test]
    fn only_so_many_are_remembered_in_memory_and_in_the_file() {
        let state = tempfile::tempdir().unwrap();
        let mut finals = Finals::open(state.path());
        for number in 0..4 {
            finals.enter((0..SENT_LIMIT).map(|one| id(number * SENT_LIMIT + one)).collect());
        }
        assert!(!finals.has(&id(0)) && finals.has(&id(4 * SENT_LIMIT - 1)));
        assert_eq!((finals.ids.len(), finals.order.len()), (SENT_LIMIT, SENT_LIMIT));
        let lines = fs::read_to_string(state.path().join(NAME)).unwrap().lines().count();
        assert!(lines <= 2 * SENT_LIMIT, "{lines}");
    }

    #[test]
    fn a_directory_that_takes_nothing_costs_nothing_but_a_word() {
        let mut finals = Finals::open(Path::new("/proc/ephemon"));
        finals.enter(vec![id(1)]);
        assert!(finals.has(&id(1)) && finals.unsaved.is_on());
    }
}

//! The journals of a job: the hook's own, and those of the containers that it names. The job can write
//! to them, too, so what is read has a bound.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::Path;

use ephemon_contract::lines::Lines;
use ephemon_contract::{JOURNAL_MAX_BYTES, Record, Volume, is_container_name, plain_file};

/// Most containers whose journals are read: the first ones.
const CONTAINERS_MAX: usize = 256;
/// Most bytes of all journals. A record takes a few times its bytes in memory.
const BYTES_MAX: u64 = 4 * JOURNAL_MAX_BYTES;

/// What was recorded of a job.
#[derive(Debug, Default)]
pub(super) struct Journals {
    /// By the hook.
    pub(super) hook: Vec<Record>,
    /// By the inits of containers, by their names, in the order in which they were launched.
    pub(super) containers: Vec<(String, Vec<Record>)>,
}

// === impl Journals ===

impl Journals {
    /// Reads what there is; a journal that cannot be read is an empty one.
    pub(super) fn read(volume: &Volume) -> Self {
        let mut left = BYTES_MAX;
        let hook = records(&volume.hook_journal(), &mut left);
        let mut containers: Vec<(String, Vec<Record>)> = Vec::new();
        for record in &hook {
            let Record::HookLaunched { container, .. } = record else { continue };
            let is_new = !containers.iter().any(|(name, _)| name == container);
            if is_new && is_container_name(container) && containers.len() < CONTAINERS_MAX {
                let own = records(&volume.container_journal(container), &mut left);
                containers.push((container.clone(), own));
            }
        }
        Self { hook, containers }
    }
}

fn records(path: &Path, left: &mut u64) -> Vec<Record> {
    let mut bytes = Vec::new();
    let most = JOURNAL_MAX_BYTES.min(*left);
    if let Ok(file) = plain_file::open(path, OpenOptions::new().read(true), None) {
        // What was read before an error counts.
        file.take(most).read_to_end(&mut bytes).ok();
    }
    *left = left.saturating_sub(bytes.len() as u64);
    let found = Lines::default().take(&bytes);
    found.records.into_iter().map(|(_, record)| record).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn launched(container: &str) -> Vec<u8> {
        let (container, image) = (container.to_owned(), "i".to_owned());
        Record::HookLaunched { at_ns: 1, container, image, running_at_ns: None }.to_line().unwrap()
    }

    #[test]
    fn the_journals_of_launched_containers_are_read_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.journal()).unwrap();
        assert!(Journals::read(&volume).hook.is_empty());
        let names = ["job", "../journal/other", "job", "gone", "link", "_hook"];
        let text: Vec<u8> = names.into_iter().flat_map(launched).collect();
        fs::write(volume.hook_journal(), [&b"{}\nnonsense\n"[..], &text].concat()).unwrap();
        let ended = Record::ContainerEnded { at_ns: 2, exit_code: 0, dropped: 0 };
        let line = ended.to_line().unwrap();
        for name in ["job", "other", "unnamed"] {
            fs::write(volume.container_journal(name), &line).unwrap();
        }
        std::os::unix::fs::symlink(
            volume.container_journal("other"),
            volume.container_journal("link"),
        )
        .unwrap();
        let journals = Journals::read(&volume);
        assert_eq!(journals.hook.len(), names.len());
        let read = [("job", vec![ended]), ("gone", vec![]), ("link", vec![])];
        assert_eq!(journals.containers, read.map(|(name, records)| (name.to_owned(), records)));
    }

    #[test]
    fn what_is_read_has_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.journal()).unwrap();
        let names: Vec<String> = (0..300).map(|number| format!("c-{number}")).collect();
        let text: Vec<u8> = names.iter().flat_map(|name| launched(name)).collect();
        fs::write(volume.hook_journal(), text).unwrap();
        let full = launched("x").repeat(2 * usize::try_from(JOURNAL_MAX_BYTES).unwrap() / 80);
        // Four of them are as much as is read.
        for name in names.iter().take(6) {
            fs::write(volume.container_journal(name), &full).unwrap();
        }
        let journals = Journals::read(&volume);
        assert_eq!(journals.containers.len(), CONTAINERS_MAX);
        let filled = journals.containers.iter().filter(|(_, records)| !records.is_empty());
        assert_eq!(filled.count(), 4);
    }
}

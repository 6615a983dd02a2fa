//! How many values each pod told, kept over a restart: the agent started anew reads them again from
//! the logs, and knows by this whether it found them all. The values themselves are never written.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::PodUid;

/// The file's name in the agent's directory.
const FILE: &str = "masks.told";
/// Longest file that is read: many times the pods of any node.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The number of values by pod; `u32::MAX` of a pod that told more than are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told(HashMap<PodUid, u32>);

// === impl Told ===

impl Told {
    /// How many values the pod told; `None` of a pod that was not known.
    pub(super) fn of(&self, pod: &PodUid) -> Option<u32> {
        self.0.get(pod).copied()
    }

    /// Keeps some pods only.
    pub(super) fn retain(&mut self, keep: impl Fn(&PodUid) -> bool) {
        self.0.retain(|pod, _| keep(pod));
    }

    /// Reads what [`Told::save`] wrote. What makes no sense is said and taken for nothing.
    pub(super) fn load(directory: &Path) -> Self {
        let path = directory.join(FILE);
        match read(&path) {
            Ok(told) => told,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "cannot read how many values to mask each pod had told"
                );
                Self::default()
            }
        }
    }

    /// Writes all of it: after a crash, the file is the old one or this one. Only the agent's own
    /// user can read it.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let rows: HashMap<&str, u32> =
            self.0.iter().map(|(uid, count)| (uid.as_str(), *count)).collect();
        let beside = directory.join(format!("{FILE}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(&rows)?)?;
        file.sync_all()?;
        fs::rename(&beside, directory.join(FILE))
    }
}

impl FromIterator<(PodUid, u32)> for Told {
    fn from_iter<I: IntoIterator<Item = (PodUid, u32)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl Extend<(PodUid, u32)> for Told {
    fn extend<I: IntoIterator<Item = (PodUid, u32)>>(&mut self, rows: I) {
        self.0.extend(rows);
    }
}

fn read(path: &Path) -> io::Result<Told> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let rows: HashMap<String, u32> = serde_json::from_slice(&text)?;
    let uids = rows.into_iter().filter_map(|(uid, count)| Some((PodUid::parse(&uid).ok()?, count)));
    Ok(uids.collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn counts_come_back_and_nobody_else_may_read_them() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Told::load(directory.path()), Told::default());
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let told: Told = [(uid.clone(), 7)].into_iter().collect();
        told.save(directory.path()).unwrap();
        assert_eq!(Told::load(directory.path()).of(&uid), Some(7));
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{").unwrap();
        assert_eq!(Told::load(directory.path()), Told::default());
    }
}

//! Which values each pod told, kept over a restart: the agent started anew reads them again from the
//! logs, and knows by this whether it found them all. The values themselves are never written.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ephemon_mask::job::ToldValues;
use ephemon_model::PodUid;

/// The file's name in the agent's directory.
const FILE: &str = "masks.told";
/// Longest file that is read: many times what pods tell, and less than what they may.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The values by pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told(HashMap<PodUid, ToldValues>);

// === impl Told ===

impl Told {
    /// Which values the pod told; `None` of a pod that was not known.
    pub(super) fn of(&self, pod: &PodUid) -> Option<&ToldValues> {
        self.0.get(pod)
    }

    /// Keeps some pods only.
    pub(super) fn retain(&mut self, keep: impl Fn(&PodUid) -> bool) {
        self.0.retain(|pod, _| keep(pod));
    }

    /// Reads what [`Told::save`] wrote. Where it makes no sense nobody knows what was told in the pods
    /// whose logs an agent had read, and that is said.
    pub(super) fn load(directory: &Path, read_before: impl Iterator<Item = PodUid>) -> Self {
        let path = directory.join(FILE);
        match read(&path) {
            Ok(told) => told,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "cannot read which values to mask each pod had told: all that pods told before this \
                     start counts as not known"
                );
                read_before.map(|pod| (pod, ToldValues::lost())).collect()
            }
        }
    }

    /// Writes all of it: after a crash, the file is the old one or this one. Only the agent's own
    /// user can read it.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let rows: HashMap<&str, &ToldValues> =
            self.0.iter().map(|(uid, values)| (uid.as_str(), values)).collect();
        let beside = directory.join(format!("{FILE}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(&rows)?)?;
        file.sync_all()?;
        fs::rename(&beside, directory.join(FILE))
    }
}

impl FromIterator<(PodUid, ToldValues)> for Told {
    fn from_iter<I: IntoIterator<Item = (PodUid, ToldValues)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl Extend<(PodUid, ToldValues)> for Told {
    fn extend<I: IntoIterator<Item = (PodUid, ToldValues)>>(&mut self, rows: I) {
        self.0.extend(rows);
    }
}

fn read(path: &Path) -> io::Result<Told> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let rows: HashMap<String, ToldValues> = serde_json::from_slice(&text)?;
    let pods = rows.into_iter().filter_map(|(uid, told)| Some((PodUid::parse(&uid).ok()?, told)));
    Ok(pods.collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ephemon_mask::job::{JobMasks, Mode};

    use super::*;

    #[test]
    fn what_was_told_comes_back_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let load = || Told::load(directory.path(), [uid.clone()].into_iter());
        assert_eq!(load(), Told::default());
        let masks = JobMasks::new(Mode::Masked);
        masks.add([b"hunter2".as_slice()]).unwrap();
        let told: Told = [(uid.clone(), masks.told())].into_iter().collect();
        told.save(directory.path()).unwrap();
        assert_eq!(load().of(&uid), Some(&masks.told()));
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{").unwrap();
        assert_eq!(load().of(&uid), Some(&ToldValues::lost()), "it may have told any");
    }
}

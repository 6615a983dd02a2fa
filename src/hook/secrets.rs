//! Values that must be masked in containers' logs. The runner masks only what it shows itself; the
//! log on the node is written before the runner reads it.

use std::io;

use ephemon_contract::Volume;
use ephemon_mask::environment;
use ephemon_mask::shared::SharedMasks;

/// The values of variables that are secrets.
pub(super) fn of(env: &[(String, String)]) -> Vec<String> {
    environment::secrets(env.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Passes them to the agent, for the logs of containers without init.
pub(super) fn share(volume: &Volume, values: &[String]) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let shared = SharedMasks::open(&volume.hook_masks())?;
    // Every action gets the job's tokens; without this check repeated values would fill the file.
    let mut told = shared.values()?;
    for value in values {
        if told.insert(value.clone().into_bytes()) {
            shared.tell(Some(value.as_bytes()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_once_however_many_actions_have_it() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        let length = || std::fs::metadata(volume.hook_masks()).unwrap().len();
        share(&volume, &["hunter2".to_owned()]).unwrap();
        let first = length();
        share(&volume, &["hunter2".to_owned()]).unwrap();
        assert_eq!(length(), first);
        share(&volume, &["hunter2".to_owned(), "opensesame".to_owned()]).unwrap();
        assert!(length() > first);
    }
}

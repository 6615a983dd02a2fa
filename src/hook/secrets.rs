//! Values that are to be masked in containers' logs. The runner masks by itself what it shows; the
//! node's log is written before it sees a byte.

use std::io;

use crate::contract::Volume;
use crate::mask::environment;
use crate::mask::shared::SharedMasks;

/// Values of variables that are secrets.
pub(super) fn of(env: &[(String, String)]) -> Vec<String> {
    environment::secrets(env.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Tells the agent, for the logs of containers that have no init.
pub(super) fn share(volume: &Volume, values: &[String]) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let shared = SharedMasks::open(&volume.hook_masks())?;
    for value in values {
        shared.tell(Some(value.as_bytes()));
    }
    Ok(())
}

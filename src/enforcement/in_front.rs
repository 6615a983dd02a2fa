//! The command of a container in front of whose own the agent puts init. Pure.
//!
//! Nothing of it is the container's to choose but what follows: init's path is fixed, its volume is
//! the hook's and read only, and it runs as the container's own user, with the container's own
//! capabilities. Whoever wrote the spec could have given the same command.

use ephemon_contract::{IN_FRONT, Volume, mount};

/// The whole command; `None` if init runs already.
pub(super) fn command(own: Vec<String>) -> Option<Vec<String>> {
    let init = Volume::new(mount::EPHEMON).init().to_str()?.to_owned();
    if own.first() == Some(&init) {
        return None;
    }
    Some([init, IN_FRONT.to_owned(), "--".to_owned()].into_iter().chain(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_command_follows_unchanged_whatever_it_is() {
        let own = ["--in-front", "", "--"].map(str::to_owned).to_vec();
        let front = ["/ephemon/bin/ephemon-init", "--in-front", "--"].map(str::to_owned).to_vec();
        let whole = [front, own.clone()].concat();
        assert_eq!(command(own), Some(whole.clone()));
        assert_eq!(command(whole), None);
    }
}

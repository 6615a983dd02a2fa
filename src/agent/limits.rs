//! The process's own limits: each captured container keeps up to sixteen files open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files kept open for one container, including its share of its pod's files.
const FILES_A_CONTAINER: u64 = 16;
/// Files for everything else: sockets, watches, libraries.
const FILES_BESIDE: u64 = 256;
/// Containers for which there should be room; with less the operator is told.
pub(super) const CONTAINERS_MIN: u64 = 250;
/// More containers than any node runs; beyond it the kernel's memory for kept files is the limit.
const MOST_CONTAINERS: u64 = 16_384;

/// Raises the soft limit on open files to the hard limit, and returns how many containers can be
/// captured at once within it.
pub(super) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    };
    let containers = containers_within(files);
    if containers < CONTAINERS_MIN {
        tracing::warn!(
            "at most {containers} containers can be captured at once: the limit on open files is \
             {files:?}; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    usize::try_from(containers).unwrap_or(usize::MAX)
}

/// How many containers the agent could capture at once, and the limit on open files that says so.
pub(super) fn containers_now() -> (u64, String) {
    let limit = getrlimit(Resource::Nofile).maximum;
    let files = limit.map_or("unlimited".to_owned(), |files| files.to_string());
    (containers_within(limit), files)
}

fn containers_within(files: Option<u64>) -> u64 {
    let containers = files.map(|files| files.saturating_sub(FILES_BESIDE) / FILES_A_CONTAINER);
    containers.unwrap_or(MOST_CONTAINERS).clamp(1, MOST_CONTAINERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_follows_the_limit_and_is_never_nothing() {
        assert_eq!(containers_within(None), MOST_CONTAINERS);
        assert_eq!(containers_within(Some(1024)), 48);
        assert_eq!(containers_within(Some(10)), 1);
    }
}

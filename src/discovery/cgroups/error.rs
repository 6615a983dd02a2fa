//! Why events of the tree are missing.

use std::io;
use std::path::PathBuf;

/// Why events are missing. The walk continues, and finds changes later.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No inotify instance can be created.
    #[error(
        "cannot create an inotify instance: {0}; raise sysctl fs.inotify.max_user_instances \
         (until then new containers are found by walking the tree)"
    )]
    NoInstance(#[source] io::Error),
    /// No further watch can be created.
    #[error(
        "no inotify watch left for {path}; raise sysctl fs.inotify.max_user_watches (until then \
         changes there are found by walking the tree)"
    )]
    NoWatch {
        /// The directory or file.
        path: PathBuf,
    },
}

//! Why a container's log is not read though somebody wants it.

use std::fmt;

/// Why the log behind a name is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogRefusal {
    /// A link that leads into none of the allowed directories.
    Directory,
    /// A link that leads to no log of Docker's, or no regular file and no link.
    Target,
    /// A link that may be followed, to something that cannot be opened.
    Unreadable,
}

// === impl LogRefusal ===

impl LogRefusal {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Directory, Self::Target, Self::Unreadable];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Target => "target",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for LogRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => {
                "it is a link into a directory that is not allowed; name the directory in \
                 --log-link-dirs and mount it from the node"
            }
            Self::Target => "it is neither a file nor a link to a log of Docker's json-file driver",
            Self::Unreadable => {
                "it is a link to a file that cannot be opened; mount its directory from the node"
            }
        })
    }
}

//! Values of labels: closed enums.

/// How a container was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An inotify event of its cgroup's parent.
    Inotify,
    /// The first walk of the tree: it ran before the agent did.
    Startup,
    /// A later walk: the event was lost or could not be had.
    Rescan,
    /// Only the pod's counters show that it lived.
    Residual,
}

/// What kind of data a drop concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Figures of containers.
    Metrics,
    /// Births and deaths.
    Events,
    /// Log records, on their way to a collector.
    Logs,
    /// What hook and init write for the agent.
    Journal,
    /// Jobs and their spans, on their way to a collector.
    Traces,
}

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its pod does not match the selector.
    Unselected,
    /// A cap on how many are held at once.
    Cap,
    /// Held for `--retain-ended` and not fetched often enough.
    Expired,
    /// A newer container has the same labels.
    Superseded,
    /// The kernel's inotify queue overflowed.
    Overflow,
    /// A kernel file could not be read or made no sense.
    Unreadable,
    /// The spool is at its cap: the oldest made room.
    SpoolFull,
    /// Longer in the spool than it may be.
    SpoolExpired,
    /// The spool's file is damaged there.
    SpoolCorrupt,
    /// The collector will not have it.
    Refused,
    /// One item larger than what the collector, or the spool, takes.
    TooLarge,
    /// The agent ended before it was delivered.
    Shutdown,
    /// More lines than `--log-rate-limit` lets through.
    RateLimited,
    /// Not among those that `--log-sample` picks.
    Sampled,
    /// The record is sent without its text: what is to be masked in it is not known.
    Withheld,
    /// A nested container beside the pods was over before it was known whose it is.
    Unattributed,
}

/// What came of a request to a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    /// Taken whole.
    Accepted,
    /// Taken but for some of its items.
    Partial,
    /// Not taken now; sent again.
    Retried,
    /// Not taken with the credentials that were sent; sent again.
    Denied,
    /// Too large; sent again in halves.
    Split,
    /// Not taken, and never will be.
    Refused,
}

/// What came of the limits a container's spec asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// Set.
    Applied,
    /// In force already: the agent set them before it was started anew.
    Already,
    /// Something tighter was in force already and stays.
    Tighter,
    /// The text makes no sense; nothing was set.
    Invalid,
    /// The kernel did not take them, or has no such limit.
    Failed,
    /// Something else had undone them; set again.
    Restored,
}

// === impl Source, Signal, Enforced, Reason, Exported ===

impl Source {
    /// The value of the `source` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inotify => "inotify",
            Self::Startup => "startup",
            Self::Rescan => "rescan",
            Self::Residual => "residual",
        }
    }
}

impl Signal {
    /// The value of the `signal` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Events => "events",
            Self::Logs => "logs",
            Self::Journal => "journal",
            Self::Traces => "traces",
        }
    }
}

impl Enforced {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Applied, Self::Already, Self::Tighter, Self::Invalid, Self::Failed, Self::Restored];

    /// The value of the `result` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Already => "already",
            Self::Tighter => "tighter",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Restored => "restored",
        }
    }
}

impl Reason {
    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unselected => "unselected",
            Self::Cap => "cap",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Overflow => "overflow",
            Self::Unreadable => "unreadable",
            Self::SpoolFull => "spool_full",
            Self::SpoolExpired => "spool_expired",
            Self::SpoolCorrupt => "spool_corrupt",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Shutdown => "shutdown",
            Self::RateLimited => "rate_limited",
            Self::Sampled => "sampled",
            Self::Withheld => "withheld",
            Self::Unattributed => "unattributed",
        }
    }
}

impl Exported {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Partial, Self::Retried, Self::Denied, Self::Split, Self::Refused];

    /// The value of the `result` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Retried => "retried",
            Self::Denied => "denied",
            Self::Split => "split",
            Self::Refused => "refused",
        }
    }
}

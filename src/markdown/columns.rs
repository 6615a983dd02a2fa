//! The columns that tables of steps and containers share: their heads, and their cells in the same order.

/// What a row begins with. `T` is a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning<T> {
    /// Whose row it is.
    pub name: T,
    /// How it ended.
    pub result: T,
    /// When it began, since the beginning of the job.
    pub began: T,
    /// How long it took.
    pub took: T,
}

/// What it used. `T` is a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used<T> {
    /// CPU time.
    pub cpu: T,
    /// Time for which it was kept from a CPU by its limit.
    pub throttled: T,
    /// Highest memory.
    pub memory: T,
    /// Number of OOM kills.
    pub oom_kills: T,
    /// Bytes read from disks.
    pub read: T,
    /// Bytes written to disks.
    pub written: T,
}

// === impl Beginning ===

impl Beginning<()> {
    /// The heads; `what` is that of the names.
    pub fn heads(what: &'static str) -> [&'static str; 4] {
        [what, "Result", "Began", "Took"]
    }
}

impl<T> Beginning<T> {
    /// The cells, as the heads have them.
    pub fn cells(self) -> [T; 4] {
        [self.name, self.result, self.began, self.took]
    }
}

// === impl Used ===

impl Used<()> {
    /// The heads.
    pub const HEADS: [&'static str; 6] =
        ["CPU time", "Throttled", "Memory", "OOM kills", "Read", "Written"];
}

impl<T> Used<T> {
    /// The cells, as the heads have them.
    pub fn cells(self) -> [T; 6] {
        [self.cpu, self.throttled, self.memory, self.oom_kills, self.read, self.written]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_below_its_head() {
        let of = |head| (head, head);
        let beginning = Beginning {
            name: of("Step"),
            result: of("Result"),
            began: of("Began"),
            took: of("Took"),
        };
        let heads = Beginning::heads("Step");
        assert_eq!(beginning.cells(), heads.map(of));
        let used = Used {
            cpu: of("CPU time"),
            throttled: of("Throttled"),
            memory: of("Memory"),
            oom_kills: of("OOM kills"),
            read: of("Read"),
            written: of("Written"),
        };
        assert_eq!(used.cells(), Used::HEADS.map(of));
    }
}

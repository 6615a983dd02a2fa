//! CPU use over time as a line of blocks. Pure.

use ephemon_client::ContainerSamples;

/// Most blocks of a line.
const BLOCKS: u64 = 16;
/// From nothing to the highest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// CPU use over equal parts of a time, thousandths of a CPU; `None` where nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Spark(Vec<Option<u64>>);

// === impl Spark ===

impl Spark {
    /// Of a container's samples between two moments, milliseconds since 1970. A short time has fewer
    /// parts: no more than there are samples.
    pub(crate) fn new(samples: &ContainerSamples, from: u64, to: u64) -> Self {
        let within = |(start, end, _): &(u64, u64, u64)| *end > from && *start < to;
        let points: Vec<_> = samples.cpu().filter(within).collect();
        let blocks = u64::try_from(points.len()).unwrap_or(BLOCKS).min(BLOCKS);
        let span = to.saturating_sub(from);
        let edge = |block: u64| {
            let offset = span.saturating_mul(block).checked_div(blocks).unwrap_or_default();
            from.saturating_add(offset)
        };
        Self((0..blocks).map(|block| mean(&points, edge(block), edge(block + 1))).collect())
    }

    /// The highest value.
    pub(crate) fn highest(&self) -> u64 {
        self.0.iter().flatten().copied().max().unwrap_or_default()
    }

    /// The blocks, the highest of them for `most`.
    pub(crate) fn text(&self, most: u64) -> String {
        let last = u64::try_from(LEVELS.len() - 1).unwrap_or_default();
        let level = |value: u64| {
            let half = most / 2;
            let level = value.saturating_mul(last).saturating_add(half).checked_div(most);
            usize::try_from(level.unwrap_or_default().min(last)).unwrap_or_default()
        };
        let block = |value: &Option<u64>| {
            value.and_then(|value| LEVELS.get(level(value)).copied()).unwrap_or(' ')
        };
        self.0.iter().map(block).collect()
    }
}

/// The mean between two moments, weighted by time.
fn mean(points: &[(u64, u64, u64)], from: u64, to: u64) -> Option<u64> {
    let (mut sum, mut time) = (0_u64, 0_u64);
    for (start, end, value) in points {
        let shared = (*end).min(to).saturating_sub((*start).max(from));
        sum = sum.saturating_add(value.saturating_mul(shared));
        time = time.saturating_add(shared);
    }
    sum.checked_div(time)
}

#[cfg(test)]
mod tests {
    use ephemon_client::UsageColumns;

    use super::*;

    fn samples(values: &[Option<u64>]) -> ContainerSamples {
        let count = u64::try_from(values.len()).unwrap();
        let usage = UsageColumns {
            from: (0..count).map(|at| at * 1000).collect(),
            to: (1..=count).map(|at| at * 1000).collect(),
            cpu_millicores: values.to_vec(),
            ..UsageColumns::default()
        };
        ContainerSamples { base_unix_ms: 5000, usage, ..ContainerSamples::default() }
    }

    #[test]
    fn a_line_rises_with_use_and_has_gaps_where_nothing_was_read() {
        let spark = Spark::new(&samples(&[Some(0), None, Some(500), Some(1000)]), 5000, 9000);
        // Three samples: three parts of 1.33 s.
        assert_eq!(spark.0, [Some(0), Some(500), Some(874)]);
        assert_eq!((spark.highest(), spark.text(1000)), (874, "▁▅▇".into()));
        assert_eq!(spark.text(0), "▁▁▁", "all idle");
    }

    #[test]
    fn a_long_time_has_sixteen_parts_and_another_none() {
        let many: Vec<_> = (0..100).map(|at| Some(at * 10)).collect();
        let spark = Spark::new(&samples(&many), 5000, 105_000);
        assert_eq!(spark.text(spark.highest()).chars().count(), 16);
        assert_eq!(Spark::new(&samples(&many), 0, 4000), Spark::default());
        assert_eq!(Spark::new(&samples(&many), 9000, 7000).text(1), "");
    }
}

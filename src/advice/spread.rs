//! How a figure is spread over jobs. Pure.

use serde::Serialize;

/// The median, the 95th percentile and the highest of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Of so many jobs.
    pub count: u64,
    /// Half of the jobs had no more.
    pub p50: f64,
    /// 95 of 100 jobs had no more.
    pub p95: f64,
    /// No job had more.
    pub max: f64,
}

// === impl Spread ===

impl Spread {
    /// Of one figure for each job, by nearest rank: each is a figure that a job had. `None` without
    /// any; what is no number is left out.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|it| it.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let rank = |hundredths: usize| {
            let rank = (figures.len() * hundredths).div_ceil(100).max(1);
            figures.get(rank - 1).copied()
        };
        let count = figures.len() as u64;
        Some(Self { count, p50: rank(50)?, p95: rank(95)?, max: *figures.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_figure_that_a_job_had() {
        let of = |count: u32| Spread::of((1..=count).rev().map(f64::from));
        for (count, p50, p95) in
            [(1, 1.0, 1.0), (2, 1.0, 2.0), (10, 5.0, 10.0), (20, 10.0, 19.0), (100, 50.0, 95.0)]
        {
            let max = f64::from(count);
            let expected = Spread { count: count.into(), p50, p95, max };
            assert_eq!(of(count), Some(expected), "{count}");
        }
        assert_eq!(of(0), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }
}

//! CPU and memory as Kubernetes writes them. Pure.

use serde::Serialize;

/// One KiB to the second power.
pub(crate) const MIB: f64 = 1_048_576.0;
/// One KiB to the third power.
pub(crate) const GIB: f64 = 1_073_741_824.0;

/// An amount of CPU and of memory; what is not known is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPUs.
    pub cpu_cores: Option<f64>,
    /// Bytes.
    pub memory_bytes: Option<f64>,
}

// === impl Resources ===

impl Resources {
    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            cpu_cores: larger(self.cpu_cores, other.cpu_cores),
            memory_bytes: larger(self.memory_bytes, other.memory_bytes),
        }
    }

    /// Whether nothing of it is known.
    pub fn is_empty(self) -> bool {
        self.cpu_cores.is_none() && self.memory_bytes.is_none()
    }
}

/// The larger of two values that may be missing.
pub(crate) fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The next multiple of `step`, at least one of them.
pub(crate) fn round_up(value: f64, step: f64) -> f64 {
    // What is a multiple but for the rounding of floats stays where it is.
    ((value / step - 1e-9).ceil().max(1.0)) * step
}

/// CPUs as a quantity: `1500m`, `2`.
pub(crate) fn cpu_quantity(cores: f64) -> String {
    let millis = (cores * 1000.0).round();
    if millis % 1000.0 == 0.0 { format!("{}", millis / 1000.0) } else { format!("{millis}m") }
}

/// Bytes as a quantity: `1536Mi`, `2Gi`.
pub(crate) fn memory_quantity(bytes: f64) -> String {
    let mib = (bytes / MIB).round();
    if mib % 1024.0 == 0.0 { format!("{}Gi", mib / 1024.0) } else { format!("{mib}Mi") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_the_shortest_that_say_it() {
        for (cores, said) in [(0.1, "100m"), (1.0, "1"), (1.5, "1500m"), (0.3, "300m")] {
            assert_eq!(cpu_quantity(cores), said);
        }
        for (mib, said) in [(128.0, "128Mi"), (1024.0, "1Gi"), (1536.0, "1536Mi")] {
            assert_eq!(memory_quantity(mib * MIB), said);
        }
    }

    #[test]
    fn rounding_goes_up_and_leaves_multiples_alone() {
        for (value, expected) in [(0.0, 0.1), (0.05, 0.1), (0.3, 0.3), (0.31, 0.4), (7.0, 7.0)] {
            assert!((round_up(value, 0.1) - expected).abs() < 1e-9, "{value}");
        }
    }
}

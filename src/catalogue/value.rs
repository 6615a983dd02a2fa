//! What a row yields: values, exact as the kernel gave them, and the values of labels.

use std::time::SystemTime;

use ephemon_base::clock::{nanos, unix_time};

/// A point's value. Writers make seconds and whole ones of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A count or a number of bytes.
    Count(u64),
    /// An exit code.
    Code(i32),
    /// Thousandths, shown as whole ones.
    Millis(u64),
    /// Microseconds, shown as seconds.
    Micros(u64),
    /// Nanoseconds, shown as seconds.
    Nanos(u64),
    /// A ratio, or what a library counted in floats.
    Float(f64),
}

/// The value of one label of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelValue<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A block device, which goes by its name where the writer knows one.
    Device {
        /// Major part of its number.
        major: u32,
        /// Minor part.
        minor: u32,
    },
    /// The point does not have this label.
    Absent,
}

/// Takes the points of one row.
pub trait Points {
    /// One point, with the values of the row's labels in their order. An absent value is no point.
    fn put(&mut self, labels: &[LabelValue<'_>], value: Option<Value>);

    /// A count of which nothing was seen yet. Prometheus takes the first increase of a series that
    /// begins with 1 for none, so that it must be shown a 0 before. In OTLP, where each point says
    /// since when it counts, this is no point.
    fn unseen(&mut self, labels: &[LabelValue<'_>]);
}

// === impl Value ===

impl Value {
    /// A moment, as seconds since the Unix epoch; none for a clock set before it.
    pub fn unix(at: SystemTime) -> Option<Self> {
        unix_time(at).map(|since| Self::Nanos(nanos(since)))
    }
}

// === impl LabelValue ===

impl<'a> From<&'a str> for LabelValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<Option<&'a str>> for LabelValue<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_moment_before_the_epoch_is_no_value() {
        assert_eq!(Value::unix(UNIX_EPOCH - Duration::from_secs(1)), None);
        let at = UNIX_EPOCH + Duration::new(1, 42);
        assert_eq!(Value::unix(at), Some(Value::Nanos(1_000_000_042)));
    }
}

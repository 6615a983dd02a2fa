//! Counters and histograms as deltas: what came since the last point that was sent. Pure.
//!
//! Each series has one window after the other, from its owner's beginning on: a point is sent when
//! something was counted, and begins where the one before ended. Sums that go up and down, and gauges,
//! stay as they are.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint,
};
use serde::{Deserialize, Serialize};

/// Where the last window of each series ended, by whose the series is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Of what began before, and is not here, nobody knows what was sent, nanoseconds since 1970.
    since_ns: u64,
    owners: HashMap<String, Series>,
}

/// By the metric's name and the point's attributes.
type Series = BTreeMap<String, Last>;

/// The end of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Last {
    at_ns: u64,
    counted: Counted,
}

/// What was counted by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Counted {
    Int(i64),
    Double(#[serde(with = "bits")] f64),
    Histogram {
        #[serde(with = "bits")]
        sum: f64,
        buckets: Vec<u64>,
    },
}

/// Most series of one owner whose windows are remembered: the jobs of a node with all their names.
const SERIES_MAX: usize = 8192;

/// A number as its bits: as decimal text it may come back a little larger or smaller, and a counter that
/// has not moved would look like one that was reset.
mod bits {
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(f64::from_bits(u64::deserialize(from)?))
    }
}

/// Ends of windows that count once their points are on their way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Staged {
    owner: String,
    ends: Series,
}

/// What [`Windows::commit`] has replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undo(Vec<(String, String, Option<Last>)>);

// === impl Windows ===

impl Windows {
    /// None yet, of an agent that began then and does not know what one before it has sent.
    pub fn beginning(now_ns: u64) -> Self {
        Self { since_ns: now_ns, owners: HashMap::new() }
    }

    /// Those of an earlier agent, which are all there were.
    #[must_use]
    pub fn recalled(mut self) -> Self {
        self.since_ns = 0;
        self
    }

    /// The points of an owner as deltas, and the ends of their windows.
    pub(super) fn deltas(&self, owner: &str, metrics: Vec<Metric>) -> (Vec<Metric>, Staged) {
        let mut turned = Turned {
            since_ns: self.since_ns,
            known: self.owners.get(owner),
            staged: Staged { owner: owner.to_owned(), ends: Series::new() },
        };
        let metrics = metrics.into_iter().filter_map(|metric| turned.metric(metric)).collect();
        (metrics, turned.staged)
    }

    /// These windows are over: their points are about to be sent.
    pub fn commit(&mut self, all: Vec<Staged>) -> Undo {
        let mut undo = Vec::new();
        for Staged { owner, ends } in all {
            let series = self.owners.entry(owner.clone()).or_default();
            for (key, last) in ends {
                let before = series.insert(key.clone(), last);
                undo.push((owner.clone(), key, before));
            }
            forget_oldest(series);
        }
        Undo(undo)
    }

    /// They are not: nobody took the points.
    pub fn revert(&mut self, Undo(all): Undo) {
        for (owner, key, before) in all {
            let Some(series) = self.owners.get_mut(&owner) else { continue };
            match before {
                Some(before) => drop(series.insert(key, before)),
                None => drop(series.remove(&key)),
            }
        }
    }

    /// Forgets all owners but these.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.owners.retain(|owner, _| is_there(owner));
    }
}

// === impl Staged ===

impl Staged {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// An owner's metrics on their way.
struct Turned<'a> {
    since_ns: u64,
    known: Option<&'a Series>,
    staged: Staged,
}

// === impl Turned ===

impl Turned<'_> {
    /// None of a metric without points.
    fn metric(&mut self, mut metric: Metric) -> Option<Metric> {
        let delta = AggregationTemporality::Delta.into();
        let name = metric.name.clone();
        let left = match metric.data.as_mut()? {
            Data::Sum(sum) if sum.is_monotonic => {
                sum.aggregation_temporality = delta;
                sum.data_points.retain_mut(|point| self.number(&name, point));
                sum.data_points.len()
            }
            Data::Histogram(histogram) => {
                histogram.aggregation_temporality = delta;
                histogram.data_points.retain_mut(|point| self.histogram(&name, point));
                histogram.data_points.len()
            }
            _ => 1,
        };
        (left > 0).then_some(metric)
    }

    fn number(&mut self, name: &str, point: &mut NumberDataPoint) -> bool {
        let counted = match point.value {
            Some(Number::AsInt(count)) => Counted::Int(count),
            Some(Number::AsDouble(sum)) => Counted::Double(sum),
            None => return false,
        };
        let now = Last { at_ns: point.time_unix_nano, counted };
        let key = key(name, &point.attributes);
        let Some((start_ns, counted)) = self.since(key, point.start_time_unix_nano, now) else {
            return false;
        };
        point.start_time_unix_nano = start_ns;
        point.value = match counted {
            Counted::Int(count) => Some(Number::AsInt(count)),
            Counted::Double(sum) => Some(Number::AsDouble(sum)),
            Counted::Histogram { .. } => None,
        };
        true
    }

    fn histogram(&mut self, name: &str, point: &mut HistogramDataPoint) -> bool {
        let (sum, buckets) = (point.sum.unwrap_or_default(), point.bucket_counts.clone());
        let counted = Counted::Histogram { sum, buckets };
        let now = Last { at_ns: point.time_unix_nano, counted };
        let key = key(name, &point.attributes);
        let Some((start_ns, Counted::Histogram { sum, buckets })) =
            self.since(key, point.start_time_unix_nano, now)
        else {
            return false;
        };
        point.start_time_unix_nano = start_ns;
        point.count = buckets.iter().sum();
        (point.sum, point.bucket_counts) = (Some(sum), buckets);
        true
    }

    /// What came since the last window, and when that ended; none of nothing.
    fn since(&mut self, key: String, began_ns: u64, now: Last) -> Option<(u64, Counted)> {
        let Some(last) = self.known.and_then(|known| known.get(&key)) else {
            let counted = now.counted.clone();
            self.staged.ends.insert(key, now);
            // Of what began before, nobody knows what was sent: its next window begins here.
            return (began_ns >= self.since_ns).then_some((began_ns, counted));
        };
        // Its owner began after the last window: what had this name before is over.
        let is_anew = began_ns > last.at_ns;
        if !is_anew && (now.counted == last.counted || now.at_ns == last.at_ns) {
            return None;
        }
        let (start_ns, counted) = match now.counted.less(&last.counted) {
            // A clock that was set back makes no window end before it begins.
            Some(counted) if !is_anew => (last.at_ns.min(now.at_ns), counted),
            // An older reading than the one that was sent.
            None if now.at_ns <= last.at_ns => return None,
            // Somebody counts from the beginning again.
            _ => (began_ns.max(last.at_ns), now.counted.clone()),
        };
        self.staged.ends.insert(key, now);
        Some((start_ns, counted))
    }
}

// === impl Counted ===

impl Counted {
    /// None where less was counted than before.
    fn less(&self, before: &Self) -> Option<Self> {
        match (self, before) {
            (Self::Int(now), Self::Int(before)) if now >= before => {
                Some(Self::Int(now.saturating_sub(*before)))
            }
            (Self::Double(now), Self::Double(before)) if now >= before => {
                Some(Self::Double(now - before))
            }
            (
                Self::Histogram { sum, buckets },
                Self::Histogram { sum: sum_before, buckets: before },
            ) if buckets.len() == before.len() => {
                let pairs = buckets.iter().zip(before);
                let counts: Option<Vec<u64>> =
                    pairs.map(|(now, before)| now.checked_sub(*before)).collect();
                Some(Self::Histogram { sum: sum - sum_before, buckets: counts? })
            }
            _ => None,
        }
    }
}

/// Forgets the series that were sent least recently, where there are too many: names that are not used
/// any more.
fn forget_oldest(series: &mut Series) {
    let beyond = series.len().saturating_sub(SERIES_MAX);
    if beyond == 0 {
        return;
    }
    let mut ends: Vec<_> = series.values().map(|last| last.at_ns).collect();
    ends.sort_unstable();
    let newest_forgotten = ends.get(beyond - 1).copied().unwrap_or_default();
    series.retain(|_, last| last.at_ns > newest_forgotten);
}

/// A series' name: its metric and the attributes of its points, in their order, which is always the
/// same.
fn key(name: &str, attributes: &[KeyValue]) -> String {
    let mut key = name.to_owned();
    for attribute in attributes {
        key.push('\n');
        key.push_str(&attribute.key);
        key.push('=');
        let value = attribute.value.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        key.push_str(&String::from_utf8_lossy(&value));
    }
    key
}

#[cfg(test)]
mod tests;

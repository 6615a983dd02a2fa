//! How native buckets are written down.

use std::collections::BTreeMap;

use ephemon_model::ExponentialBuckets;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As written.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Saved<Buckets> {
    schema: i8,
    zero: u64,
    buckets: Buckets,
}

pub(super) fn serialize<S: Serializer>(of: &ExponentialBuckets, to: S) -> Result<S::Ok, S::Error> {
    Saved { schema: of.schema(), zero: of.zero(), buckets: of.by_index() }.serialize(to)
}

/// What makes no sense is no observation: the set that has it is not whole then, and begins anew.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<ExponentialBuckets, D::Error> {
    let Saved { schema, zero, buckets } = Saved::<BTreeMap<i32, u64>>::deserialize(from)?;
    Ok(ExponentialBuckets::counted(schema, zero, buckets).unwrap_or_default())
}

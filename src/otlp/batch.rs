//! Records gathered into one `ExportLogsServiceRequest`. Each is encoded as it is added; the end only
//! puts the parts together.

use std::{collections::HashMap, sync::Arc};

use super::{
    debug_event::DebugEvent,
    log_end::LogEnd,
    names::SCHEMA_URL,
    record::{self, Entry},
    source::Resource,
    wire,
};

/// What the records say made them.
const SCOPE: &str = "ephemon";

/// A buffer up to this size is kept for the next batch: to grow one anew costs as much as to fill it.
const KEPT_BYTES: usize = 2 * 1024 * 1024;

/// Records of any number of containers.
#[derive(Debug, Default)]
pub struct Batch {
    groups: Vec<Group>,
    /// Where each resource's group is, by its address; the group holds the resource, so that an
    /// address is not used again while it stands here.
    places: HashMap<usize, usize>,
    /// The last record's: the next is often of the same.
    last: (usize, usize),
    records: usize,
    encoded_len: usize,
    scratch: Vec<u8>,
    spare: Vec<u8>,
}

/// One container's.
#[derive(Debug)]
struct Group {
    resource: Arc<Resource>,
    /// `log_records` of a `ScopeLogs`.
    records: Vec<u8>,
    /// Length of its field in the request; 0 before the first record.
    length: usize,
}

// === impl Batch ===

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record.
    pub fn push(&mut self, resource: &Arc<Resource>, entry: &Entry<'_>) {
        self.scratch.clear();
        record::put(&mut self.scratch, resource, entry);
        self.add_scratch(resource);
    }

    /// Adds the event that closes a log.
    pub fn push_end(&mut self, resource: &Arc<Resource>, end: &LogEnd) {
        self.scratch.clear();
        end.put(&mut self.scratch, resource);
        self.add_scratch(resource);
    }

    /// Adds an event of a container that was attached by hand.
    pub fn push_debug(&mut self, resource: &Arc<Resource>, event: &DebugEvent<'_>) {
        self.scratch.clear();
        event.put(&mut self.scratch);
        self.add_scratch(resource);
    }

    fn add_scratch(&mut self, resource: &Arc<Resource>) {
        let at = self.place(resource);
        let Some(group) = self.groups.get_mut(at) else { return };
        wire::bytes(&mut group.records, 2, &self.scratch);
        let length = group.encoded_len();
        self.encoded_len += length - group.length;
        group.length = length;
        self.records += 1;
    }

    fn place(&mut self, resource: &Arc<Resource>) -> usize {
        let address = Arc::as_ptr(resource).addr();
        if self.last.0 != address {
            let at = *self.places.entry(address).or_insert_with(|| {
                let resource = Arc::clone(resource);
                let records = std::mem::take(&mut self.spare);
                self.groups.push(Group { resource, records, length: 0 });
                self.groups.len() - 1
            });
            self.last = (address, at);
        }
        self.last.1
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.records
    }

    /// No record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the request as it would be now.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// The encoded request. Leaves the batch empty.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len);
        for mut group in self.groups.drain(..) {
            group.put(&mut out);
            let capacity = group.records.capacity();
            if capacity <= KEPT_BYTES && capacity > self.spare.capacity() {
                group.records.clear();
                self.spare = group.records;
            }
        }
        self.places.clear();
        self.last = (0, 0);
        self.records = 0;
        self.encoded_len = 0;
        out
    }
}

// === impl Group ===

impl Group {
    /// Length of its field in the request.
    fn encoded_len(&self) -> usize {
        wire::field_length(self.resource_logs_len())
    }

    fn resource_logs_len(&self) -> usize {
        wire::field_length(self.resource.message.len())
            + wire::field_length(self.scope_logs_len())
            + wire::field_length(SCHEMA_URL.len())
    }

    fn scope_logs_len(&self) -> usize {
        wire::field_length(scope_len()) + self.records.len() + wire::field_length(SCHEMA_URL.len())
    }

    fn put(&self, out: &mut Vec<u8>) {
        wire::head(out, 1, self.resource_logs_len());
        wire::bytes(out, 1, &self.resource.message);
        wire::head(out, 2, self.scope_logs_len());
        wire::head(out, 1, scope_len());
        wire::bytes(out, 1, SCOPE.as_bytes());
        wire::bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
        out.extend_from_slice(&self.records);
        wire::bytes(out, 3, SCHEMA_URL.as_bytes());
        wire::bytes(out, 3, SCHEMA_URL.as_bytes());
    }
}

fn scope_len() -> usize {
    wire::field_length(SCOPE.len()) + wire::field_length(env!("CARGO_PKG_VERSION").len())
}

#[cfg(test)]
mod tests;

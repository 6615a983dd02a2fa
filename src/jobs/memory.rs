//! What must outlive the agent: which pods' jobs were counted and sent, so that neither happens
//! twice. Plain values; saved by `keeper`.

use std::collections::{BTreeMap, HashSet};

use ephemon_contract::trace::SpanId;
use ephemon_model::PodUid;
use serde::{Deserialize, Serialize};

/// Most pods remembered; the one that was met first goes first. A kubelet runs 110 at a time, and
/// the API forgets a deleted pod within the minute.
pub(super) const MAX_REMEMBERED: usize = 4096;

/// What is remembered of pods by their UIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pods: BTreeMap<String, Remembered>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// When it was met, nanoseconds since 1970.
    met_ns: u64,
    /// Whether its job was sent and counted.
    done: bool,
    /// Spans that went ahead of the rest, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sent: Vec<String>,
}

// === impl Memory ===

impl Memory {
    /// Whether this pod's job was counted as started.
    pub fn is_met(&self, uid: &PodUid) -> bool {
        self.pods.contains_key(uid.as_str())
    }

    /// Whether this pod's job was sent.
    pub fn is_done(&self, uid: &PodUid) -> bool {
        self.pods.get(uid.as_str()).is_some_and(|known| known.done)
    }

    /// Spans of it that were sent ahead.
    pub fn sent(&self, uid: &PodUid) -> HashSet<SpanId> {
        let sent = self.pods.get(uid.as_str()).map(|known| known.sent.iter());
        sent.into_iter().flatten().filter_map(|text| unhex(text)).collect()
    }

    /// A job was seen for the first time.
    pub fn meet(&mut self, uid: &PodUid, now_ns: u64) {
        let met = Remembered { met_ns: now_ns, ..Remembered::default() };
        self.pods.entry(uid.as_str().to_owned()).or_insert(met);
        while self.pods.len() > MAX_REMEMBERED {
            // Those that are done before those that live.
            let rank = |known: &Remembered| (!known.done, known.met_ns);
            let oldest = self.pods.iter().min_by_key(|(_, known)| rank(known));
            let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) else { return };
            self.pods.remove(&oldest);
        }
    }

    /// Spans of it go ahead of the rest.
    pub fn send<'a>(&mut self, uid: &PodUid, spans: impl Iterator<Item = &'a SpanId>) {
        if let Some(known) = self.pods.get_mut(uid.as_str()) {
            known.sent.extend(spans.map(SpanId::to_string));
        }
    }

    /// Its job is sent.
    pub fn finish(&mut self, uid: &PodUid) {
        if let Some(known) = self.pods.get_mut(uid.as_str()) {
            known.done = true;
            known.sent = Vec::new();
        }
    }
}

fn unhex(text: &str) -> Option<SpanId> {
    let all = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| all)?;
    Some(SpanId(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: usize) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{n:012}")).unwrap()
    }

    #[test]
    fn what_is_remembered_comes_back_and_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..MAX_REMEMBERED + 10 {
            memory.meet(&uid(n), n as u64);
        }
        assert!(!memory.is_met(&uid(9)) && memory.is_met(&uid(10)));
        let span = SpanId([1, 2, 3, 4, 5, 6, 7, 0xff]);
        memory.send(&uid(10), [span].iter());
        let text = serde_json::to_string(&memory).unwrap();
        let mut back: Memory = serde_json::from_str(&text).unwrap();
        assert_eq!(back, memory);
        assert_eq!(back.sent(&uid(10)), HashSet::from([span]));
        back.finish(&uid(10));
        assert!(back.is_done(&uid(10)) && back.sent(&uid(10)).is_empty());
    }
}

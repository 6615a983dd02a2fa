//! Failures that can be injected.

use std::sync::{Arc, Mutex};

use ephemon_base::lock;
use tokio::sync::watch;

/// A failure of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every request is accepted and none is answered; open streams stop sending.
    Hang,
    /// Every request is answered with this HTTP status (500, 429, 503, …).
    Refuse(u16),
    /// Every list and watch from a given version is answered with HTTP 410.
    Gone,
}

/// Answers some requests with a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The verb and resource, as in RBAC: `patch pods/ephemeralcontainers`.
    pub asked: &'static str,
    /// Number of further requests that it affects.
    pub times: u32,
    /// The failure.
    pub answer: Answer,
}

/// The failure of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This HTTP status; with `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// It is executed, but its response never arrives.
    Lost,
    /// The connection is closed without a response, and it is not executed.
    Closed,
}

/// A failure of all open watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchFault {
    /// Closed without an end of the body.
    Cut,
    /// An `ERROR` event with status 410, then the end.
    Expire,
}

/// The injected failures. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<State>);

#[derive(Debug)]
struct State {
    fault: watch::Sender<Fault>,
    /// Number of failures of watches, and the kind of the last one.
    strikes: watch::Sender<u64>,
    last: Mutex<WatchFault>,
    rules: Mutex<Vec<Rule>>,
    /// Number of requests, including those that are not answered.
    requests: watch::Sender<u64>,
}

// === impl Faults ===

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(State {
            fault: watch::Sender::new(Fault::None),
            strikes: watch::Sender::new(0),
            last: Mutex::new(WatchFault::Cut),
            rules: Mutex::default(),
            requests: watch::Sender::new(0),
        }))
    }
}

impl Faults {
    /// From now on every request has this failure.
    pub fn set(&self, fault: Fault) {
        self.0.fault.send_replace(fault);
    }

    /// Adds a rule; of the rules that match a request and are not used up, the oldest applies.
    pub fn add(&self, rule: Rule) {
        lock(&self.0.rules).push(rule);
    }

    /// The failure for a request, if a rule matches; uses the rule once.
    pub(super) fn meet(&self, asked: &str) -> Option<Answer> {
        let mut rules = lock(&self.0.rules);
        let rule = rules.iter_mut().find(|rule| rule.asked == asked && rule.times > 0)?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.answer)
    }

    /// Closes every open watch, like a lost connection.
    pub fn drop_watches(&self) {
        self.strike(WatchFault::Cut);
    }

    /// Ends every open watch with an `ERROR` event of status 410, as after a compaction.
    pub fn expire_watches(&self) {
        self.strike(WatchFault::Expire);
    }

    /// Number of requests so far, including failed ones.
    pub fn requests(&self) -> u64 {
        *self.0.requests.borrow()
    }

    /// Waits until this number of requests has arrived.
    pub async fn until_requests(&self, count: u64) {
        // This object owns the sender, so it exists.
        self.0.requests.subscribe().wait_for(|requests| *requests >= count).await.ok();
    }

    pub(super) fn count_request(&self) {
        self.0.requests.send_modify(|requests| *requests = requests.saturating_add(1));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Fault> {
        self.0.fault.subscribe()
    }

    pub(super) fn strikes(&self) -> watch::Receiver<u64> {
        self.0.strikes.subscribe()
    }

    pub(super) fn last_strike(&self) -> WatchFault {
        *lock(&self.0.last)
    }

    fn strike(&self, strike: WatchFault) {
        *lock(&self.0.last) = strike;
        self.0.strikes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

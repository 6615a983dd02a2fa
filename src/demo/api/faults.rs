//! How the stand-in misbehaves on demand.

use std::sync::{Arc, Mutex};

use ephemon_base::lock;
use tokio::sync::watch;

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every request is taken and none is answered; open streams fall silent.
    Hang,
    /// Every request is answered with this HTTP status (500, 429, 503, …).
    Refuse(u16),
    /// Every list and watch from a given version is answered with HTTP 410.
    Gone,
}

/// Answers some requests wrongly and lets all others through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The verb and resource it is about, as RBAC has them: `patch pods/ephemeralcontainers`.
    pub asked: &'static str,
    /// How many more requests it meets.
    pub times: u32,
    /// What they meet.
    pub answer: Answer,
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This HTTP status; with `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// It is carried out, and its answer never comes.
    Lost,
    /// The connection is closed without an answer, and it is not carried out.
    Closed,
}

/// Something done to all watches that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchFault {
    /// Cut without an end of the body.
    Cut,
    /// An `ERROR` event with status 410, then the end.
    Expire,
}

/// The switchboard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<State>);

#[derive(Debug)]
struct State {
    fault: watch::Sender<Fault>,
    /// Counts strikes; the kind of the last one.
    strikes: watch::Sender<u64>,
    last: Mutex<WatchFault>,
    rules: Mutex<Vec<Rule>>,
    /// Counts requests, those that are not answered too.
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
    /// From now on every request meets this fault.
    pub fn set(&self, fault: Fault) {
        self.0.fault.send_replace(fault);
    }

    /// Adds a rule; the oldest that is about a request and not used up holds.
    pub fn add(&self, rule: Rule) {
        lock(&self.0.rules).push(rule);
    }

    /// What a request meets, if a rule is about it; uses the rule once.
    pub(super) fn meet(&self, asked: &str) -> Option<Answer> {
        let mut rules = lock(&self.0.rules);
        let rule = rules.iter_mut().find(|rule| rule.asked == asked && rule.times > 0)?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.answer)
    }

    /// Cuts every open watch, as a lost connection does.
    pub fn drop_watches(&self) {
        self.strike(WatchFault::Cut);
    }

    /// Ends every open watch with an `ERROR` event of status 410, as after a compaction.
    pub fn expire_watches(&self) {
        self.strike(WatchFault::Expire);
    }

    /// How many requests have come, whatever they met.
    pub fn requests(&self) -> u64 {
        *self.0.requests.borrow()
    }

    /// Waits until so many have come.
    pub async fn until_requests(&self, count: u64) {
        // The sender is this board's own, so it cannot be gone.
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

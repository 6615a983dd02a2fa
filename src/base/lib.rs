//! Helpers that std does not have: Unix time, durations as text, locks without poisoning, backoff,
//! the pace of an idle loop, the progress of a thread, and warnings that do not repeat. Std only,
//! without domain types.

pub mod backoff;
pub mod clock;
pub mod duration;
mod heartbeat;
pub mod idle;
mod lock;
pub mod warning;

pub use backoff::Backoff;
pub use heartbeat::Heartbeat;
pub use idle::Idle;
pub use lock::{lock, wait};

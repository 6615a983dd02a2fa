//! Helpers that std does not have: Unix time, durations as text, locks without poisoning, backoff,
//! the pace of an idle loop, the progress of a thread, warnings that do not repeat, and what makes
//! hidden characters seen. Std only, without domain types.

pub mod backoff;
pub mod clock;
pub mod duration;
mod heartbeat;
pub mod idle;
mod lock;
pub mod visible;
pub mod warning;

pub use backoff::Backoff;
pub use heartbeat::Heartbeat;
pub use idle::Idle;
pub use lock::{lock, wait};
pub use visible::visible;

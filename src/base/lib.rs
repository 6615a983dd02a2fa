//! What each program needs and std does not have: Unix time, durations as text, locks without poison,
//! backoff, the pace of an idle loop, whether a thread makes progress, and warnings that do not repeat. Std only, and no domain types.

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

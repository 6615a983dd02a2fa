//! The log files of chosen containers, followed to the last byte: whole lines, at least once.
//!
//! - `births` and `directory` find and open the files, `files` by their names, `links` where they may
//!   lie elsewhere; `segment` and `chain` keep them through
//!   rotation, compression, truncation, deletion and the agent's own restart.
//! - `line`, `stamp` and `join` make lines of records; `log` brings both halves together and keeps
//!   the `accounting`.
//! - `known` holds all logs, `checkpoint` how far each is delivered, `follow` drives them; `shares`
//!   says whose turn it is.
//!
//! What is handed over counts as delivered when its [`Position`] is acknowledged; only then does
//! the checkpoint move. A log is [`ContainerLog::complete`] when its container has ended, every byte
//! that was in its files is delivered, and none is known or suspected to be lost.

mod accounting;
mod births;
mod chain;
mod checkpoint;
mod directory;
mod files;
mod follow;
mod head;
mod hole;
mod join;
mod known;
pub mod line;
mod links;
mod log;
mod place;
mod segment;
mod shares;
mod source;
mod stamp;

pub use accounting::{Account, Accounting, ContainerLog, LostBytes};
pub use checkpoint::Checkpoints;
pub use checkpoint::{MAX_LIVE, MAX_LOGS};
pub use follow::{AtRisk, Follower, Options, Turn, Woken};
pub use follow::{MAX_HELD_BYTES, MAX_UNPACKED, UNPACKED_BYTES};
pub use known::{Choice, RefusedLog};
pub use known::{MAX_LEFT, MAX_REFUSED};
pub use links::LinkDirectories;
pub use log::Line;
pub use place::{LogId, LogRef, Position, Uid};
pub use shares::Slowed;

//! The protocol of NRI, the Node Resource Interface of containerd and CRI-O, from the side of a
//! plugin: the runtime asks before it creates a container, and the answer may set resources and the
//! command; and it tells which containers it creates, has started and has seen end.
//!
//! `frame` divides the one socket into two connections, `call` is ttrpc on each of them, `wire` has
//! the messages, declared by hand for the fields used; the `session` registers and answers. It knows
//! nothing of what a plugin decides, or does with what it is told: see [`Handler`].
//!
//! While a plugin is asked, the runtime creates no other container of the node, and an answer that
//! is an error fails the container. So every answer has a deadline far below the runtime's, and
//! whatever goes wrong is answered by "change nothing". What is only told is answered before anything is
//! done with it.
//!
//! Source: github.com/containerd/nri, `pkg/api/api.proto`, `pkg/net/multiplex`,
//! `pkg/adaptation/plugin.go`; github.com/containerd/ttrpc, `PROTOCOL.md`.

mod call;
mod creation;
mod error;
mod frame;
mod life;
mod listing;
mod session;
mod wire;

pub use creation::{Adjustment, Creation, InRequest};
pub use error::Error;
pub use life::{End, Event, Life, Pod};
pub use listing::List;
pub use session::{Handler, Session, check};

/// Memory that one session takes, in bytes: the longest messages held, the part being read, the list of
/// all pods and containers, and a command on its way from the call into the frames of its answer.
pub const SESSION_BYTES: usize = session::MAX_CALL_BYTES
    + listing::LIST_BYTES
    + session::MAX_ANSWER_BYTES
    + 2 * session::CHUNK_BYTES
    + 6 * creation::MAX_ARGS_BYTES;

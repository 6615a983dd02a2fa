//! Asks agents for their jobs, as `src/page/openapi.json` describes it: one agent by its address, or
//! all of a cluster by port-forwards through the API server, with the user's own rights.
//!
//! A [`Source`] is what the command line says. [`Fleet::connect`] finds its agents; [`Fleet::jobs`] and
//! [`Fleet::find`] ask all of them, and an [`Agent`] is asked for one job's parts. `answer` has the
//! answers as values, `connection` the way to one agent, `cluster` the agents' pods, `probe` what is asked
//! beside the page.
//!
//! What agents answer is hostile input: an answer has a bound in bytes and in time, fields that are
//! not known are ignored, and what is missing is `None`. Texts are as they came: `ephemon_base::visible`
//! makes them fit to be shown.

mod agent;
mod answer;
mod api_client;
mod cluster;
mod connection;
mod error;
mod fleet;
mod no_proxy;
mod probe;
mod source;
mod trouble;

pub use agent::{Agent, Events};
pub use answer::job::{Container, Job, Link, Phase, Pull, Step};
pub use answer::jobs::{JobSummary, Jobs};
pub use answer::log::{Line, Log};
pub use answer::part::{Ending, Span, Usage};
pub use answer::samples::{Activity, ContainerSamples, Samples, UsageColumns};
pub use api_client::ClientError;
pub use cluster::Error as ClusterError;
pub use connection::Response;
pub use error::Error;
pub use fleet::{FindError, Fleet, Listed, Listing};
pub use source::{Address, AddressError, Source};
pub use trouble::Trouble;

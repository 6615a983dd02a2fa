//! `ephemon debug`: asks the agent of this node, and changes what it logs, by its control socket.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ephemon_base::clock;
use ephemon_model::node::NodeRoot;

use crate::control::{self, LOG_CHANGE_MAX, Request};
use crate::duration::parse_positive;

/// Look into the agent that runs on this node
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it as root on the node, or in the agent's container:
  kubectl exec ds/ephemon -- ephemon debug state
The bundle holds names of pods, containers, repositories and workflows, as /metrics does. It holds no
tokens, headers, log lines or environment variables. Read it before you pass it on.")]
pub(super) struct Debug {
    /// Where the node's root directory is mounted
    #[arg(long, env = "EPHEMON_NODE_ROOT", value_name = "DIR", default_value = "/", global = true)]
    node_root: PathBuf,

    /// The agent's state directory; below --node-root
    #[arg(
        long,
        env = "EPHEMON_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/ephemon",
        global = true
    )]
    state_dir: PathBuf,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print what the agent is set to, waits for and sees, as JSON
    State,
    /// Print what a report of trouble needs: state, metrics and facts of the node, as text
    Bundle,
    /// Change what the agent logs, for a time
    Log {
        /// A level, or levels by module [example: `info,ephemon_jobs=debug`]
        filter: String,
        /// After this the filter of --log is in force again; at most 24h
        #[arg(long = "for", value_name = "DURATION", default_value = "15m", value_parser = parse_positive)]
        time: Duration,
    },
}

// === impl Debug ===

impl Debug {
    /// The text to print.
    pub(super) async fn run(self) -> Result<String, control::Error> {
        let state_dir = NodeRoot::new(&self.node_root).join(&self.state_dir);
        let ask = async |request| control::ask(&state_dir, &request).await;
        match self.what {
            What::State => Ok(format!("{:#}\n", ask(Request::State).await?.0)),
            What::Bundle => {
                let (state, _) = ask(Request::State).await?;
                let (_, metrics) = ask(Request::Metrics).await?;
                Ok(bundle(&format!("{state:#}"), &metrics))
            }
            What::Log { filter, time } => {
                let time = time.min(LOG_CHANGE_MAX);
                let seconds = time.as_secs().max(1);
                ask(Request::Log { filter: filter.clone(), seconds }).await?;
                Ok(format!("ephemon: the agent logs by {filter:?} for {seconds} s\n"))
            }
        }
    }
}

/// One text with a heading for each part.
fn bundle(state: &str, metrics: &str) -> String {
    let node = rustix::system::uname();
    let version = env!("CARGO_PKG_VERSION");
    let seconds = clock::unix_time(SystemTime::now()).unwrap_or_default().as_secs();
    let [release, build, machine] =
        [node.release(), node.version(), node.machine()].map(|text| text.to_string_lossy());
    format!(
        "# ephemon {version}\nwritten at {seconds} (Unix seconds)\n\n\
         # node\nkernel: {release}\nbuild of the kernel: {build}\nmachine: {machine}\n\n\
         # state\n{state}\n\n# metrics\n{metrics}"
    )
}

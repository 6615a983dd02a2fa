//! The command line of `ephemon demo`.

use std::net::SocketAddr;

use super::cgroups::Choice;
use super::view::MountMode;

/// Run ephemeral containers on this machine, without a cluster, and watch the agent see them all.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
WHAT IT DOES
  Sets up a node of its own: an API server stand-in, a kubelet stand-in that runs pods as real \
  processes in real cgroups (or, where none can be written, in a scratch tree of the same files), and \
  the real agent beside them. Then a runner plays a workflow through the real hook: a job container \
  with a service, script steps, container actions. A script of ephemeral containers of 30 ms to 20 s \
  follows. Nothing is left behind, and a kubelet on the same machine is not touched.

EXAMPLES
  Play once, check the agent against the stand-in's own records, about 30 seconds:
      ephemon demo --once
  The workflow alone, about 6 seconds:
      ephemon demo --once --play workflow
  Keep going, and look with curl or Prometheus:
      ephemon demo")]
pub struct Args {
    /// Play the script once, print a report, exit 1 if the agent missed or misjudged anything
    #[arg(long)]
    pub once: bool,

    /// The report's form
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, requires = "once")]
    pub report: Format,

    /// Where containers are accounted
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Choice::Auto)]
    pub cgroups: Choice,

    /// What is played
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Play::All)]
    pub play: Play,

    /// How containers come to see their volumes [default: the best that works here]
    #[arg(long, value_name = "KIND", value_enum)]
    pub mounts: Option<MountMode>,

    /// The address the agent serves at [default: 127.0.0.1:9911; a free port with --once]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// What runs in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Play {
    /// The workflow, then the script.
    All,
    /// The workflow: a runner, the real hook, and the containers of its job.
    Workflow,
    /// The script: ephemeral containers of every kind, created without the hook.
    Script,
}

/// The format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

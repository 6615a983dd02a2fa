//! Limits of ephemeral containers, which the API cannot set: `EPHEMON_LIMITS` in the spec becomes
//! the limits of the container's cgroup (`--enforce-limits`).
//!
//! `ephemon_discovery::inventory` joins the spec with the cgroup. `starting` detects when the
//! runtime has finished with it; `decision` decides what to set; `case` decides when to check
//! again; the `enforcer` does the work.
//!
//! Where the runtime asks (`--nri-socket`), the `plugin` has it set them at the container's creation:
//! `creation` decides which of them, by the same `decision`. It also has init run in front of an
//! image's own entrypoint (`in_front`), where the spec asks for that.

mod case;
mod creation;
mod decision;
mod enforcer;
mod in_front;
mod plugin;
mod starting;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use ephemon_discovery::inventory::Inventory;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;
use tokio::time::{Instant, sleep, sleep_until};

use enforcer::Enforcer;
pub use plugin::run_at_creation;

/// Events come in bursts; those within this time are handled together.
const BATCH_INTERVAL: Duration = Duration::from_millis(1);

/// Enforces limits; never returns.
///
/// `kubepods`: path of the kubelet's tree below the hierarchy's root, if configured.
///
/// Each pass runs on a blocking thread: to lower a memory limit the kernel may first have to
/// reclaim memory, which must not block the server.
///
/// # Panics
/// If a pass panics, so that supervision reports it.
pub async fn run(
    node: NodeRoot,
    kubepods: Option<PathBuf>,
    inventory: Inventory,
    self_metrics: SelfMetrics,
) -> Infallible {
    let mut enforcer = Enforcer::new(node, kubepods, inventory.clone(), self_metrics);
    loop {
        let pass = tokio::task::spawn_blocking(move || {
            let next = enforcer.pass();
            (enforcer, next)
        });
        let next = match pass.await {
            Ok((back, next)) => {
                enforcer = back;
                next
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        tokio::select! {
            () = sleep_until(Instant::from_std(next)) => {}
            () = inventory.news() => sleep(BATCH_INTERVAL).await,
        }
    }
}

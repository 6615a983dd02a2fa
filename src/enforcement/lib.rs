//! Limits of ephemeral containers, which the API cannot set: `EPHEMON_LIMITS` of the spec becomes
//! the kernel's own limits of the container's cgroup (`--enforce-limits`).
//!
//! `ephemon_discovery::inventory` ties the spec to the cgroup. `starting` tells when the runtime is done
//! with it; `decision` what is to be set; `case` when to look again; the `enforcer` does it.

mod case;
mod decision;
mod enforcer;
mod starting;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use ephemon_discovery::inventory::Inventory;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;
use tokio::time::{Instant, sleep, sleep_until};

use enforcer::Enforcer;

/// News come in bursts; those of so short a time are looked at together.
const BATCH_INTERVAL: Duration = Duration::from_millis(1);

/// Enforces limits for ever.
///
/// `kubepods`: where the kubelet's tree is below the hierarchy's root, if the operator says.
///
/// Each pass runs on a blocking thread: to lower a limit of memory the kernel may first take memory
/// back, which the server must not wait for.
///
/// # Panics
/// Where a pass does, so that supervision hears of it.
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

//! `ui`: the job page for all nodes, on this machine.

mod merged;
mod site;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ephemon_client::Source;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect;
use crate::failure::Failure;
use site::Site;

/// Connections at one time.
const CONNECTION_LIMIT: usize = 64;
/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// Serve the job page of all nodes on this machine, for a browser
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
It listens on 127.0.0.1 only, and asks the agents with your own rights: who can connect to that port on
this machine sees what you may see. It ends with Ctrl-C.")]
pub struct Ui {
    /// The port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9912)]
    port: u16,

    #[command(flatten)]
    source: Source,
}

// === impl Ui ===

impl Ui {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let fleet = connect(&self.source).await?;
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        let bind = |source| Failure::Bind { port: self.port, source };
        let listener = bound.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let agents = fleet.agents().len();
        say(&format!(
            "the jobs of {agents} node{}: http://{address}/",
            if agents == 1 { "" } else { "s" }
        ));
        let site = Arc::new(Site::new(self.source, fleet));
        let seats = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        // The semaphore is never closed.
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&site), seat))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>, _seat: OwnedSemaphorePermit) {
    let answer = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, std::convert::Infallible>(site.answer(&request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A browser that goes away is no failure.
    server.serve_connection(TokioIo::new(stream), answer).await.unwrap_or_default();
}

#[expect(clippy::print_stderr, reason = "where the page is")]
fn say(what: &str) {
    eprintln!("ephemon: {what}");
}

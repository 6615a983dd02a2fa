//! Names and forwarded ports of a job's services, provided by an init with the required
//! permissions.

use ephemon_contract::{ErrorCode, Forward, HostEntry, Request, Token};
use tokio::time::Instant;

use super::plan::{LOOPBACK, Plan, Wanted};
use crate::call::{Call, Error};
use crate::launch::PodWatch;
use crate::ports::Protocol;
use crate::socket;
use crate::socket::Line;
use crate::spec::Planned;

/// What is provided.
pub(super) struct Network<'a> {
    call: &'a Call<'a>,
    hosts: Vec<HostEntry>,
    forwards: Vec<Wanted>,
    /// Whether the steps run in a container of their own, where services have their own ports.
    has_job: bool,
}

// === impl Network ===

impl<'a> Network<'a> {
    pub(super) fn new(call: &'a Call<'a>, plan: &Plan) -> Self {
        let hosts = plan.hosts().into_iter();
        Self {
            call,
            hosts: hosts
                .map(|host| HostEntry { address: host.address, names: host.names })
                .collect(),
            forwards: plan.forwards(),
            has_job: plan.job.is_some(),
        }
    }

    /// Whether there is nothing to provide.
    pub(super) fn is_idle(&self) -> bool {
        self.hosts.is_empty() && self.forwards.is_empty()
    }

    /// Waits for the hook's own container and configures it.
    pub(super) async fn ready(
        &self,
        planned: &Planned,
        mut news: PodWatch,
        token: &Token,
        until: Instant,
    ) -> Result<(), Error> {
        let (call, settings) = (self.call, self.call.settings);
        let waited = (until, settings.timeout);
        match news.ready(planned, &settings.volume, token, waited, call.console).await {
            Ok((mut line, _)) => self.configure(planned.name(), &mut line).await,
            Err(error) if error.is_of_init() => {
                let (image, why) = (planned.image.clone(), error.to_string());
                Err(Error::NoNetwork { image, why })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Handles the case that no container can provide them: names are optional, but steps use the
    /// ports.
    pub(super) fn without(&self, error: Error) -> Result<(), Error> {
        if self.forwards.is_empty() {
            self.no_names(&error.to_string());
            return Ok(());
        }
        Err(error)
    }

    /// Asks an init to write the names and listen on the ports.
    pub(super) async fn configure(&self, container: &str, line: &mut Line) -> Result<(), Error> {
        if !self.hosts.is_empty()
            && let Err(error) =
                self.call.ask(line, container, &Request::Hosts(self.hosts.clone())).await
        {
            self.no_names(&error.to_string());
        }
        for &wanted in &self.forwards {
            let request = Request::Forward(vec![wanted.forward()]);
            match line.ask(&request).await {
                Ok(_) => {}
                Err(socket::Error::Refused(failure)) => {
                    let in_use = failure.code == ErrorCode::AddressInUse;
                    self.refused(wanted, in_use, &failure.text)?;
                }
                Err(source) => {
                    return Err(Error::Container { name: container.to_owned(), source });
                }
            }
        }
        Ok(())
    }

    /// Handles a port that init cannot listen on. Steps in a job container can use the service's
    /// own port instead. But if the port is in use, they would reach another service, so that is an
    /// error.
    fn refused(&self, wanted: Wanted, in_use: bool, why: &str) -> Result<(), Error> {
        let port = wanted.port;
        let why = crate::console::quote(why);
        let error = Error::Forward {
            host: port.host,
            container: port.container,
            protocol: port.protocol,
            why,
        };
        if wanted.of_job || (self.has_job && !in_use) {
            self.call.console.warning(&error.to_string());
            return Ok(());
        }
        Err(error)
    }

    fn no_names(&self, why: &str) {
        self.call.console.warning(&format!(
            "services can be reached at localhost, but not by name: {why}; only root can write /etc/hosts"
        ));
    }
}

// === impl Wanted ===

impl Wanted {
    fn forward(self) -> Forward {
        Forward {
            listen: format!("0.0.0.0:{}", self.port.host),
            to: format!("{LOOPBACK}:{}", self.port.container),
            udp: self.port.protocol == Protocol::Udp,
        }
    }
}

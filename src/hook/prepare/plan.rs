//! The containers of a job, planned before any is created. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ephemon_contract::{Token, env};
use k8s_openapi::api::core::v1::{EnvVar, Pod};

use super::own_port::{self, Move};
use crate::call::{Call, Error};
use crate::names::Names;
use crate::pod_view::PodView;
use crate::ports;
use crate::ports::{Owner, Port};
use crate::request::{Container, PrepareJob};
use crate::response::{Context, Response, Shown};
use crate::spec::{Common, Planned, Role};
use crate::state::{Host, Job, Service, State};
use crate::template::Template;
use crate::volumes;

/// Address at which the containers of a pod reach each other.
pub(super) const LOOPBACK: &str = "127.0.0.1";

/// The containers of a job.
pub(super) struct Plan {
    pub(super) job: Option<Planned>,
    pub(super) services: Vec<Planned>,
    /// The hook's own container, if the job container cannot provide names and ports.
    pub(super) network: Option<Planned>,
    /// The workflow's name of each service, if known.
    keys: Vec<Option<String>>,
    /// Services that listen on other ports than their images' defaults.
    moves: Vec<Move>,
    warnings: Vec<String>,
}

/// A port that must be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) port: Port,
    /// It belongs to the job container, in which nothing listens yet.
    pub(super) of_job: bool,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(
        call: &Call<'_>,
        asked: &PrepareJob,
        template: &Template,
        view: &PodView,
        token: &Token,
    ) -> Result<Self, Error> {
        let mut asked = asked.clone();
        let moves = own_port::apart(&mut asked);
        let asked = &asked;
        let common =
            Common { settings: call.settings, pod: view, token, uid: call.uid, call: &call.id };
        let all = asked.container.iter().chain(&asked.services);
        volumes::check_shared(all, view).map_err(crate::spec::Error::from)?;
        let mut names = Names::new(view.containers.clone());
        let job = asked
            .container
            .as_ref()
            .map(|asked| Planned::new(Role::Job, asked, |_| template.job(), &common, &mut names));
        let job = job.transpose()?;
        let service = |asked: &Container| {
            let part = |known: &[String]| template.service(known.iter().map(String::as_str));
            Planned::new(Role::Service, asked, part, &common, &mut names)
        };
        let services = asked.services.iter().map(service).collect::<Result<Vec<_>, _>>()?;
        let mut plan = Self {
            job,
            services,
            network: None,
            keys: asked.services.iter().map(|asked| asked.key.clone()).collect(),
            moves,
            warnings: Vec::new(),
        };
        plan.move_ports();
        plan.warnings = ports::check(plan.all().map(|planned| {
            let owner = Owner { name: planned.name(), is_job: planned.role == Role::Job };
            (owner, planned.ports.as_slice())
        }))?;
        if plan.needs_network() {
            plan.network = Some(Planned::network(&common, &mut names)?);
        }
        Ok(plan)
    }

    /// Sets the new ports in services that were moved.
    fn move_ports(&mut self) {
        for told in &self.moves {
            let Some(service) = self.services.get_mut(told.service) else { continue };
            for port in service.ports.iter_mut().filter(|port| port.container == told.from) {
                (port.host, port.container) = (told.to, told.to);
            }
            service.warnings.push(format!(
                "{} listens on port {} instead of {}: another service of the job uses that port, and all share one network",
                service.image, told.to, told.from
            ));
        }
    }

    /// Whether it is known in advance that the job container cannot provide names and ports.
    fn needs_network(&self) -> bool {
        let by_job = self.job.as_ref().is_some_and(|job| {
            let user = job.spec.security_context.as_ref().and_then(|context| context.run_as_user);
            user.is_none_or(|uid| uid == 0)
        });
        !by_job && (!self.hosts().is_empty() || !self.forwards().is_empty())
    }

    /// The hook's own container, if the others already exist.
    pub(super) fn late_network(
        call: &Call<'_>,
        view: &PodView,
        pod: &Pod,
        token: &Token,
    ) -> Result<Planned, Error> {
        let common =
            Common { settings: call.settings, pod: view, token, uid: call.uid, call: &call.id };
        let mut names = Names::new(PodView::of(pod).containers);
        Ok(Planned::network(&common, &mut names)?)
    }

    /// Tells an agent that pulls images ahead which images the job's actions use. Their own containers
    /// follow when the job is ready, and the kubelet would pull for them only then.
    pub(super) fn tell_images(&mut self, images: Option<String>) {
        let first = self.job.as_mut().or_else(|| self.services.first_mut());
        if let (Some(first), Some(images)) = (first, images) {
            let variable = EnvVar {
                name: env::ACTION_IMAGES.to_owned(),
                value: Some(images),
                value_from: None,
            };
            first.spec.env.get_or_insert_default().push(variable);
        }
    }

    /// The containers of the workflow.
    pub(super) fn all(&self) -> impl Iterator<Item = &Planned> {
        // The kubelet starts the containers one after the other, in this order.
        self.job.iter().chain(&self.services)
    }

    /// Differences from what the workflow requests, one sentence each.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        let all = self.all().flat_map(|planned| &planned.warnings).chain(&self.warnings);
        all.map(String::as_str)
    }

    pub(super) fn warn(&self, call: &Call<'_>, view: &PodView) {
        if !view.memory_is_limited {
            call.console.warning(
                "nothing limits the memory of this job: give the runner's pod a limit (spec.resources.limits.memory, Kubernetes 1.34 and later), or each of its containers and init containers",
            );
        }
        for warning in self.warnings() {
            call.console.warning(warning);
        }
        for planned in self.all() {
            if let Some(registry) = &planned.registry
                && !view.has_pull_secrets
            {
                call.console.debug(&format!(
                    "the workflow's credentials for {registry} are not used: images are pulled with the pod's own pull secrets"
                ));
            }
        }
    }

    /// Logs the names and ports of each service, one line each.
    pub(super) fn describe(&self, call: &Call<'_>) {
        for (service, key) in self.services.iter().zip(&self.keys) {
            call.console.line(&described(service, key.as_deref()));
        }
    }

    /// Names and addresses for `/etc/hosts`.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let mut names: Vec<String> =
            self.services.iter().flat_map(|service| service.names.iter().cloned()).collect();
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let mut by_address: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, address) in self.all().flat_map(|planned| &planned.hosts) {
            by_address.entry(address).or_default().push(name.clone());
        }
        let services = (!names.is_empty()).then(|| Host { address: LOOPBACK.to_owned(), names });
        let added = by_address
            .into_iter()
            .map(|(address, names)| Host { address: address.to_owned(), names });
        services.into_iter().chain(added).collect()
    }

    /// Ports that must be forwarded. A port of the job container that a service listens on is not
    /// forwarded, because the service must be able to bind it.
    pub(super) fn forwards(&self) -> Vec<Wanted> {
        let services = self.services.iter().flat_map(|service| &service.ports);
        let taken: BTreeSet<(u16, bool)> = services
            .clone()
            .flat_map(|port| [port.host, port.container].map(|number| (number, port.is_udp())))
            .collect();
        let job = self.job.iter().flat_map(|job| &job.ports);
        let job = job.filter(|port| !taken.contains(&(port.host, port.is_udp())));
        let job = job.map(|port| Wanted { port: *port, of_job: true });
        let mut all: Vec<Wanted> =
            services.map(|port| Wanted { port: *port, of_job: false }).chain(job).collect();
        let mut seen = BTreeSet::new();
        all.retain(|wanted| {
            wanted.port.is_remapped() && seen.insert((wanted.port.host, wanted.port.is_udp()))
        });
        all
    }

    pub(super) fn state(&self, token: Token) -> State {
        let mut state = State::new(token);
        state.job = self.job.as_ref().map(|job| Job {
            container: job.name().to_owned(),
            env: job.env.iter().cloned().collect(),
            user: job.user.clone(),
            working_directory: job.cwd.clone(),
            by_exec: false,
        });
        state.services = self
            .services
            .iter()
            .map(|service| Service {
                container: service.name().to_owned(),
                image: service.image.clone(),
                has_init: service.has_init,
                asks_init: service.asks_init,
                secret: service.secret.clone(),
            })
            .collect();
        state.network = self.network.as_ref().map(|network| network.name().to_owned());
        state.hosts = self.hosts();
        state
    }

    pub(super) fn response(&self, state: State, is_alpine: Option<bool>) -> Response {
        let job = state.job.as_ref().map(|job| job.container.clone());
        let shown = |planned: &Planned| Shown {
            id: planned.name().to_owned(),
            network: "pod".to_owned(),
            ports: ports::shown(&planned.ports),
        };
        // One may have been added again.
        let own = self.services.iter().zip(&state.services);
        let shown_as = |(planned, service): (&Planned, &Service)| Shown {
            id: service.container.clone(),
            ..shown(planned)
        };
        let mut services: Vec<Shown> = own.map(shown_as).collect();
        own_port::show(&self.moves, &mut services);
        Response {
            state: Some(state),
            is_alpine,
            context: Some(Context {
                container: self
                    .job
                    .as_ref()
                    .map(shown)
                    .map(|shown| Shown { id: job.unwrap_or(shown.id), ..shown }),
                services,
            }),
        }
    }
}

/// One service's names and ports.
fn described(service: &Planned, key: Option<&str>) -> String {
    /// A range can have thousands of ports, which would hide the rest of the line.
    const MOST_PORTS: usize = 16;
    let mut ports: Vec<String> = service
        .ports
        .iter()
        .take(MOST_PORTS)
        .map(|port| {
            let own = if port.is_remapped() {
                format!(" (its own: {})", port.container)
            } else {
                String::new()
            };
            format!("{}/{}{own}", port.host, port.protocol)
        })
        .collect();
    if service.ports.len() > MOST_PORTS {
        ports.push("…".to_owned());
    }
    let ports = match ports.as_slice() {
        [] => String::new(),
        ports => format!("; ports {}", ports.join(", ")),
    };
    let mut names = service.names.clone();
    names.push("localhost".to_owned());
    let hint = match key {
        Some(_) => "",
        None => {
            "; the hook does not know its name in the workflow: if steps use another name, set `options: --network-alias NAME`"
        }
    };
    format!("service {}: reached as {}{ports}{hint}", service.image, names.join(", "))
}

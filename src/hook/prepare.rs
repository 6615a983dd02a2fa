//! `prepare_job`: the job container and all services, in one patch.

mod health;

use std::collections::BTreeMap;
use std::time::Instant as Clock;

use tokio::sync::watch;
use tokio::time::Instant;

use super::api::Api;
use super::call::{Call, Error};
use super::fallback::{self, Kept};
use super::launch::{self, News};
use super::names::Names;
use super::pod_view::PodView;
use super::ports;
use super::request::{Container, PrepareJob};
use super::response::{Context, Response, Shown};
use super::socket::Line;
use super::spec::{Common, Planned, Role};
use super::state::{Host, Job, Service, State};
use super::template::Template;
use super::{cleanup, enforced, journal, orphans, workspace};
use crate::contract::{Forward, HostEntry, Record, Request, Token, Welcome};

/// Where every container of a pod finds every other.
const LOOPBACK: &str = "127.0.0.1";

/// The containers of a job.
struct Plan {
    job: Option<Planned>,
    services: Vec<Planned>,
}

/// The job container.
enum Made {
    /// Its init answers.
    Ready(Welcome),
    /// It has none.
    Kept(Kept),
}

/// Prepares a job.
pub(super) async fn run(call: &Call<'_>, asked: &PrepareJob) -> Result<Response, Error> {
    let template = Template::load(call.settings.template.as_deref())?;
    for warning in &template.warnings {
        call.console.warning(warning);
    }
    workspace::open_to_all(call.settings);
    let api = Api::new(call.settings).await?;
    let began = Clock::now();
    let pod = api.pod().await?;
    let view = PodView::of(&pod);
    let token = super::call::new_token()?;
    let plan = Plan::new(call, asked, &template, &view, &token)?;
    plan.warn(call, &view);
    let mut state = plan.state(token.clone());
    orphans::keep(call, &token);
    let made = match start(call, &api, &plan, &view, &token).await {
        Ok(made) => made,
        Err(error) => {
            // The runner keeps no state of a call that failed: nobody could do this later.
            cleanup::run(call, Some(&state)).await;
            orphans::forget(call.settings);
            return Err(error);
        }
    };
    if let (Some(job), Some(Made::Kept(kept))) = (&mut state.job, &made) {
        job.container.clone_from(&kept.container);
        job.by_exec = true;
    }
    call.console.debug(&format!("containers ready after {} ms", began.elapsed().as_millis()));
    Ok(plan.response(state, made.as_ref().map(Made::is_alpine)))
}

// === impl Made ===

impl Made {
    fn is_alpine(&self) -> bool {
        match self {
            Self::Ready(welcome) => welcome.alpine,
            Self::Kept(kept) => kept.is_alpine,
        }
    }
}

// === impl Plan ===

impl Plan {
    fn new(
        call: &Call<'_>,
        asked: &PrepareJob,
        template: &Template,
        view: &PodView,
        token: &Token,
    ) -> Result<Self, Error> {
        let common =
            Common { settings: call.settings, pod: view, token: token.digest(), uid: call.uid };
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
        let plan = Self { job, services };
        ports::check(plan.all().map(|planned| (planned.name(), planned.ports.as_slice())))?;
        if plan.job.is_none()
            && let Some(port) =
                plan.all().flat_map(|planned| &planned.ports).find(|port| port.is_remapped())
        {
            return Err(Error::RemapWithoutJob { host: port.host, container: port.container });
        }
        Ok(plan)
    }

    fn all(&self) -> impl Iterator<Item = &Planned> {
        // The kubelet starts the containers one after the other, in the list's order.
        self.job.iter().chain(&self.services)
    }

    fn warn(&self, call: &Call<'_>, view: &PodView) {
        for planned in self.all() {
            for warning in &planned.warnings {
                call.console.warning(warning);
            }
            if let Some(registry) = &planned.registry
                && !view.has_pull_secrets
            {
                call.console.debug(&format!(
                    "the workflow's credentials for {registry} are not used: images are pulled with the pod's own pull secrets"
                ));
            }
        }
    }

    /// Names and addresses for `/etc/hosts`.
    fn hosts(&self) -> Vec<Host> {
        let names: Vec<String> =
            self.services.iter().flat_map(|service| service.names.iter().cloned()).collect();
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

    /// Ports that are not the containers' own.
    fn forwards(&self) -> impl Iterator<Item = Forward> {
        let ports = self.all().flat_map(|planned| &planned.ports);
        ports.filter(|port| port.is_remapped()).map(|port| Forward {
            listen: format!("0.0.0.0:{}", port.host),
            to: format!("{LOOPBACK}:{}", port.container),
        })
    }

    fn state(&self, token: Token) -> State {
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
                secret: service.secret.clone(),
            })
            .collect();
        state.hosts = self.hosts();
        state
    }

    fn response(&self, state: State, is_alpine: Option<bool>) -> Response {
        let job = state.job.as_ref().map(|job| job.container.clone());
        let shown = |planned: &Planned| Shown {
            id: planned.name().to_owned(),
            network: "pod".to_owned(),
            ports: ports::shown(&planned.ports),
        };
        Response {
            state: Some(state),
            is_alpine,
            context: Some(Context {
                container: self
                    .job
                    .as_ref()
                    .map(shown)
                    .map(|shown| Shown { id: job.unwrap_or(shown.id), ..shown }),
                services: self.services.iter().map(shown).collect(),
            }),
        }
    }
}

/// Asks for the containers and waits until each is as it should be.
async fn start(
    call: &Call<'_>,
    api: &Api,
    plan: &Plan,
    view: &PodView,
    token: &Token,
) -> Result<Option<Made>, Error> {
    let all: Vec<&Planned> = plan.all().collect();
    if all.is_empty() {
        return Ok(None);
    }
    for planned in &all {
        if let Some(secret) = &planned.secret {
            api.create_secret(secret, &view.uid, &planned.env).await?;
        }
    }
    let asked_ns = journal::now_ns();
    let specs: Vec<_> = all.iter().map(|planned| &planned.spec).collect();
    let pod = api.add(&specs).await?;
    let (sender, _) = watch::channel(pod);
    let until = Instant::now() + call.settings.timeout;
    let services = plan.services.iter().map(|service| {
        let news = News::new(&sender);
        health::healthy(call, service, token, news, until)
    });
    let ready = async {
        let services = futures_util::future::try_join_all(services);
        // The job container's own part need not wait for the services.
        let job = async {
            let Some(job) = &plan.job else { return Ok(None) };
            let waited = (until, call.settings.timeout);
            let mut news = News::new(&sender);
            let volume = &call.settings.volume;
            let made = match news.ready(job, volume, token, waited, call.console).await {
                Ok((mut line, welcome)) => {
                    furnish(call, plan, job, &mut line).await?;
                    Made::Ready(welcome)
                }
                Err(error) if error.is_of_init() => {
                    if plan.forwards().next().is_some() {
                        return Err(Error::RemapWithoutInit(job.image.clone()));
                    }
                    let hosts = plan.hosts();
                    Made::Kept(fallback::launch(call, api, job, &hosts, &sender, &error).await?)
                }
                Err(error) => return Err(error.into()),
            };
            call.record(&Record::HookLaunched {
                at_ns: asked_ns,
                container: job.name().to_owned(),
                image: Record::text(&job.image),
                running_at_ns: Some(journal::now_ns()),
            });
            Ok::<_, Error>(Some(made))
        };
        futures_util::future::try_join(job, services).await.map(|(job, _)| job)
    };
    tokio::select! {
        ready = ready => ready,
        Err(error) = launch::follow(api, &sender) => Err(error.into()),
    }
}

/// What the job container's init has to do before the first step.
async fn furnish(
    call: &Call<'_>,
    plan: &Plan,
    job: &Planned,
    line: &mut Line,
) -> Result<(), Error> {
    call.ask_links(line, job).await?;
    let hosts: Vec<HostEntry> = plan
        .hosts()
        .into_iter()
        .map(|host| HostEntry { address: host.address, names: host.names })
        .collect();
    if !hosts.is_empty()
        && let Err(error) = call.ask(line, job.name(), &Request::Hosts(hosts)).await
    {
        call.console.warning(&format!(
            "services can be reached at localhost, but not by name: {error}; ephemon-init needs to be root to write /etc/hosts"
        ));
    }
    let forwards: Vec<Forward> = plan.forwards().collect();
    if !forwards.is_empty() {
        call.ask(line, job.name(), &Request::Forward(forwards)).await?;
    }
    if !job.limits.is_empty() && !enforced::holds(&job.limits, line).await {
        call.console.warning(&format!(
            "the limits {} of {} are not in force: run the ephemon agent with --enforce-limits on the nodes of the runners",
            job.limits, job.image
        ));
    }
    Ok(())
}

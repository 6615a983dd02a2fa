//! `prepare_job`: creates the job container and all services in one patch.

mod health;
mod listening;
mod network;
mod own_port;
mod plan;
mod probe;
mod schedule;
mod service;

use std::cell::OnceCell;
use std::time::Instant as Clock;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Record, Token, Welcome};
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{self, Api};
use super::call::{Call, Error};
use super::console::quote;
use super::fallback::{self, Kept};
use super::launch::{self, PodWatch};
use super::pod_view::PodView;
use super::request::PrepareJob;
use super::response::Response;
use super::socket::Line;
use super::spec::Planned;
use super::template::Template;
use super::{cleanup, enforced, leftovers, pulls, secrets, service_keys, standby, workspace};
use network::Network;
use plan::Plan;
use service::Again;

/// The job container after its start.
enum JobContainer {
    /// Its init is ready.
    Ready(Welcome),
    /// It runs without init.
    Kept(Kept),
}

/// One `prepare_job`.
struct Prepare<'a> {
    call: &'a Call<'a>,
    api: &'a Api,
    plan: &'a Plan,
    view: &'a PodView,
    token: &'a Token,
    /// Name of a container for names and ports whose need was found during the start.
    late: OnceCell<String>,
    /// Services that were added again, without init.
    again: Again,
}

/// Prepares a job.
pub(super) async fn run(call: &Call<'_>, asked: &PrepareJob) -> Result<Response, Error> {
    let template = Template::load(call.settings.template.as_deref())?;
    for warning in &template.warnings {
        call.console.warning(warning);
    }
    workspace::open_to_all(call.settings);
    let api = Api::new(call.settings).await?;
    // An earlier job's says nothing of this one.
    standby::drop_book(call.settings);
    if let Some(text) = &call.settings.standby_ignored {
        call.console.warning(&format!(
            "EPHEMON_STANDBY is {}, which is no number: {} containers may stand by",
            quote(text),
            call.settings.standby
        ));
    }
    let began = Clock::now();
    let (pod, look) = futures_util::join!(api.pod(), standby::look(call.settings));
    let view = PodView::of(&pod?);
    let token = super::call::new_token()?;
    let keys = service_keys::of(call.settings, &asked.services);
    let mut plan = Plan::new(call, &asked.with_keys(keys), &template, &view, &token)?;
    let policy = template.step().image_pull_policy;
    plan.tell_images(look.images(policy.as_deref()));
    plan.warn(call, &view);
    plan.describe(call);
    let mut state = plan.state(token.clone());
    leftovers::keep(call, &token);
    let prepare = Prepare {
        call,
        api: &api,
        plan: &plan,
        view: &view,
        token: &token,
        late: OnceCell::new(),
        again: Again::default(),
    };
    let made = prepare.start().await;
    if let Some(name) = prepare.late.get() {
        state.network = Some(name.clone());
    }
    prepare.again.note(&mut state);
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            // The runner keeps no state of a call that failed, so this cannot be done later.
            cleanup::run(call, Some(&state)).await;
            leftovers::forget(call.settings);
            return Err(error);
        }
    };
    if let (Some(job), Some(JobContainer::Kept(kept))) = (&mut state.job, &made) {
        job.container.clone_from(&kept.container);
        job.by_exec = true;
    }
    let took = began.elapsed();
    call.console.debug(&format!("containers ready after {} ms", took.as_millis()));
    let names: Vec<&str> = plan.all().map(Planned::name).collect();
    let pulled = pulls::note_early(call, &api, took, &names);
    let standby = async {
        // Where the job's init does not run, that of its actions may not either.
        if !matches!(made, Some(JobContainer::Kept(_))) {
            let mut view = view.clone();
            let own = plan.all().chain(&plan.network).map(|planned| planned.name().to_owned());
            view.containers.extend(own.chain(prepare.late.get().cloned()));
            standby::begin(call, &api, &template, (&view, &token), look).await;
        }
    };
    futures_util::join!(pulled, standby);
    Ok(plan.response(state, made.as_ref().map(JobContainer::is_alpine)))
}

/// The containers that [`run`] creates, and its warnings.
pub(super) fn planned(
    call: &Call<'_>,
    asked: &PrepareJob,
    template: &Template,
    view: &PodView,
    token: &Token,
) -> Result<(Vec<EphemeralContainer>, Vec<String>), Error> {
    let plan = Plan::new(call, asked, template, view, token)?;
    let specs = plan.all().chain(&plan.network).map(|planned| planned.spec.clone()).collect();
    Ok((specs, plan.warnings().map(str::to_owned).collect()))
}

// === impl JobContainer ===

impl JobContainer {
    fn is_alpine(&self) -> bool {
        match self {
            Self::Ready(welcome) => welcome.alpine,
            Self::Kept(kept) => kept.is_alpine,
        }
    }
}

// === impl Prepare ===

impl Prepare<'_> {
    /// Creates the containers and waits until each is ready.
    async fn start(&self) -> Result<Option<JobContainer>, Error> {
        let Self { call, api, plan, .. } = *self;
        let all: Vec<&Planned> = plan.all().collect();
        if all.is_empty() {
            return Ok(None);
        }
        for planned in &all {
            call.share_masks(&planned.env);
            if let Some(secret) = &planned.secret {
                api.create_secret(secret, &self.view.uid, &planned.env).await?;
            }
        }
        let asked_ns = now_ns();
        let (sender, _) = watch::channel(self.add(&all, plan.network.as_ref()).await?);
        let until = Instant::now() + call.settings.timeout;
        let services = plan.services.iter().map(|service| self.service(service, &sender, until));
        let ready = async {
            let services = futures_util::future::try_join_all(services);
            // The preparation of the job container does not wait for the services.
            let job = self.job(&sender, until, asked_ns);
            let network = async {
                let Some(planned) = &plan.network else { return Ok(()) };
                let network = self.network();
                let ready = network.ready(planned, PodWatch::new(&sender), self.token, until).await;
                ready.or_else(|error| network.without(error))
            };
            futures_util::future::try_join3(job, services, network).await.map(|(job, _, ())| job)
        };
        tokio::select! {
            ready = ready => ready,
            Err(error) = launch::follow(api, &sender) => Err(error.into()),
        }
    }

    /// Creates the containers in one patch. If the namespace does not allow root, the hook's own
    /// container is created with fewer rights: then it forwards ports, but cannot write names.
    async fn add(&self, all: &[&Planned], network: Option<&Planned>) -> Result<Pod, Error> {
        let patch = async |network: Option<&Planned>| {
            let specs: Vec<_> =
                all.iter().copied().chain(network).map(|planned| &planned.spec).collect();
            self.api.add(&specs).await
        };
        match (patch(network).await, network) {
            (Err(refused @ api::Error::Refused { code: 403, .. }), Some(network)) => {
                let less = network.restricted(self.call.uid);
                patch(Some(&less)).await.map_err(|_| refused.into())
            }
            (answer, _) => Ok(answer?),
        }
    }

    /// Makes the job container ready for its first step.
    async fn job(
        &self,
        sender: &watch::Sender<Pod>,
        until: Instant,
        asked_ns: u64,
    ) -> Result<Option<JobContainer>, Error> {
        let Self { call, api, plan, .. } = *self;
        let Some(job) = &plan.job else { return Ok(None) };
        let waited = (until, call.settings.timeout);
        let mut news = PodWatch::new(sender);
        let volume = &call.settings.volume;
        let made = match news.ready(job, volume, self.token, waited, call.console).await {
            Ok((mut line, welcome)) => {
                call.ask_links(&mut line, job).await?;
                let secrets: Vec<String> =
                    plan.all().flat_map(|all| secrets::of(&all.env)).collect();
                if !secrets.is_empty() {
                    call.mask(&mut line, job.name(), secrets).await;
                }
                if plan.network.is_none() {
                    self.hold(job, &mut line, &welcome, sender, until).await?;
                }
                self.enforced(job, &mut line).await;
                JobContainer::Ready(welcome)
            }
            Err(error) if error.is_of_init() => {
                let hosts = plan.hosts();
                let kept = fallback::launch(call, api, job, &hosts, sender, &error).await?;
                if plan.network.is_none() && !plan.forwards().is_empty() {
                    self.add_network(sender, until).await?;
                }
                JobContainer::Kept(kept)
            }
            Err(error) => return Err(error.into()),
        };
        call.record(&Record::HookLaunched {
            at_ns: asked_ns,
            container: job.name().to_owned(),
            image: Record::text(&job.image),
            running_at_ns: Some(now_ns()),
        });
        Ok(Some(made))
    }

    /// Provides names and ports: with the job's init if it is root, otherwise with a container of
    /// the hook's own.
    async fn hold(
        &self,
        job: &Planned,
        line: &mut Line,
        welcome: &Welcome,
        sender: &watch::Sender<Pod>,
        until: Instant,
    ) -> Result<(), Error> {
        let network = self.network();
        if welcome.uid != 0 && !network.is_idle() {
            match self.add_network(sender, until).await {
                Err(error @ (Error::Api(_) | Error::Launch(_) | Error::NoNetwork { .. })) => {
                    self.call
                        .console
                        .debug(&format!("the container `network` is not available, so the job container serves names and ports: {error}"));
                }
                settled => return settled,
            }
        }
        network.configure(job.name(), line).await
    }

    /// Adds the hook's own container after the others.
    async fn add_network(&self, sender: &watch::Sender<Pod>, until: Instant) -> Result<(), Error> {
        let planned = Plan::late_network(self.call, self.view, &sender.borrow(), self.token)?;
        // Recorded before the request, so that it is stopped even if the call fails.
        self.late.get_or_init(|| planned.name().to_owned());
        let pod = self.add(&[], Some(&planned)).await?;
        sender.send_replace(pod);
        self.network().ready(&planned, PodWatch::new(sender), self.token, until).await
    }

    fn network(&self) -> Network<'_> {
        Network::new(self.call, self.plan)
    }

    async fn enforced(&self, job: &Planned, line: &mut Line) {
        if !job.limits.is_empty() && !enforced::holds(&job.limits, line).await {
            self.call.console.warning(&format!(
                "the limits {} of {} are not in force: run the ephemon agent with --enforce-limits on the nodes of the runners",
                job.limits, job.image
            ));
        }
    }
}

//! Turns the runner's request into the spec of an ephemeral container. Pure.
//!
//! No value of the workflow's environment is in the spec, because everyone who can read pods can
//! read it. Init gets the environment of jobs and steps over its socket. That of services, which
//! outlive each call of the hook, and of an image's own entrypoint is in a Secret.

mod environment;
mod error;
mod mounts;
mod network;
mod process;
mod security;
mod shape;
mod wishes;

use ephemon_contract::{Limits, Link, Token, Volume, mount};
use k8s_openapi::api::core::v1::EphemeralContainer;

use super::names::{self, Names};
use super::options::{HealthOptions, Options, Pull};
use super::pod_view::PodView;
use super::ports::Port;
use super::request::Container;
use super::settings::Settings;
use super::template::Part;
use super::words;
pub(super) use error::Error;
pub(super) use shape::{Shape, bare, of_image};

/// The purpose of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Job,
    Service,
    Step,
    /// Made ahead for a step, which takes it when its turn comes.
    Standby,
    /// The hook's own container in addition to services: it holds their names and forwards their
    /// ports.
    Network,
}

/// What all containers of a call have in common.
#[derive(Debug)]
pub(super) struct Common<'a> {
    pub(super) settings: &'a Settings,
    pub(super) pod: &'a PodView,
    /// The spec contains only keys derived from it.
    pub(super) token: &'a Token,
    /// The hook's user id, which init accepts as its client.
    pub(super) uid: u32,
    /// The id of the call.
    pub(super) call: &'a str,
}

/// A container that is ready to be created.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) role: Role,
    pub(super) spec: EphemeralContainer,
    pub(super) image: String,
    /// Whether init is its first process.
    pub(super) has_init: bool,
    /// Whether the node's agent is asked to put init in front of the image's own entrypoint. Only its
    /// socket tells that it has.
    pub(super) asks_init: bool,
    /// What init runs as the container's own process; `None` for the job container.
    pub(super) main: Option<Vec<String>>,
    /// The environment from the workflow.
    pub(super) env: Vec<(String, String)>,
    /// The Secret that holds `env`, if there is no init to receive it.
    pub(super) secret: Option<String>,
    pub(super) cwd: Option<String>,
    /// A user by name, which init looks up in the image.
    pub(super) user: Option<String>,
    pub(super) links: Vec<Link>,
    /// Directories that init creates before the links.
    pub(super) directories: Vec<String>,
    pub(super) ports: Vec<Port>,
    /// Host names under which other containers look it up.
    pub(super) names: Vec<String>,
    /// `--add-host`.
    pub(super) hosts: Vec<(String, String)>,
    pub(super) health: HealthOptions,
    pub(super) limits: Limits,
    /// The registry for which the workflow has credentials.
    pub(super) registry: Option<String>,
    pub(super) warnings: Vec<String>,
    /// More of them, if init is not put in front.
    pub(super) warnings_without_init: Vec<String>,
}

// === impl Role ===

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            // The agent treats it as one of the services.
            Self::Service | Self::Network => "service",
            Self::Step => "step",
            Self::Standby => "standby",
        }
    }

    /// The hook's own volumes that the container mounts.
    fn volumes(self, has_init: bool) -> &'static [&'static str] {
        match (self, has_init) {
            (Self::Job, _) => &["work", "externals", "github", "ephemon", "ephemon-bin"],
            (Self::Step | Self::Standby, true) => &["work", "github", "ephemon", "ephemon-bin"],
            (Self::Step | Self::Standby, false) => &["work", "github"],
            (Self::Service, true) | (Self::Network, _) => &["ephemon", "ephemon-bin"],
            (Self::Service, false) => &[],
        }
    }
}

// === impl Planned ===

impl Planned {
    /// Plans a container. Takes its name from `names`.
    pub(super) fn new(
        role: Role,
        asked: &Container,
        part: impl FnOnce(&[String]) -> Part,
        common: &Common<'_>,
        names: &mut Names,
    ) -> Result<Self, Error> {
        if asked.dockerfile.is_some() {
            return Err(Error::Dockerfile);
        }
        let image = asked.image.clone().ok_or(Error::NoImage(role.as_str()))?;
        let line = asked.create_options.as_deref().unwrap_or_default();
        let options = Options::parse(line, &image)?;
        let image = options.trailing.as_ref().map_or(image, |trailing| trailing.image.clone());
        options.limits.check()?;
        let stem = match role {
            Role::Job | Role::Step | Role::Standby | Role::Network => role.as_str(),
            Role::Service => names::of_image(&image),
        };
        let name = names.take(stem);
        let known = match role {
            Role::Service => names::of_service(asked.key.as_deref(), stem, &name, &options.names),
            _ => options.names.clone(),
        };
        let part = part(&known);
        let (main, args) = process::main(role, asked, &options, &part);
        let has_init = role == Role::Job || main.is_some();
        let asks_init = !has_init && may_ask(role, &options, common);
        let warnings_without_init = if has_init {
            Vec::new()
        } else {
            wishes::warnings_without_init(role, &options, &image, common.pod)
        };
        let mut planned = Self {
            role,
            image: image.clone(),
            has_init,
            asks_init,
            main,
            env: environment::merged(asked, &options, &part),
            secret: None,
            cwd: options
                .workdir
                .clone()
                .or(part.working_dir.clone())
                .or_else(|| asked.working_directory.clone()),
            user: None,
            links: Vec::new(),
            directories: Vec::new(),
            ports: Vec::new(),
            names: known.into_iter().filter(|name| names::is_host_name(name)).collect(),
            hosts: wishes::hosts(role, &options),
            health: options.health.clone(),
            limits: limits(&options, &part),
            registry: asked.registry.as_ref().map(|registry| {
                if registry.server_url.is_empty() { "docker.io" } else { &registry.server_url }
                    .to_owned()
            }),
            warnings: wishes::warnings(role, &options, &image, common.pod),
            warnings_without_init,
            spec: EphemeralContainer { name, image: Some(image), ..EphemeralContainer::default() },
        };
        for text in asked.port_mappings.iter().chain(&options.publish) {
            planned.ports.extend(Port::parse(text)?);
        }
        planned.fill(asked, &options, part, args, common)?;
        if !planned.asks_init {
            planned.warnings.append(&mut planned.warnings_without_init);
        }
        Ok(planned)
    }

    fn fill(
        &mut self,
        asked: &Container,
        options: &Options,
        part: Part,
        args: Option<Vec<String>>,
        common: &Common<'_>,
    ) -> Result<(), Error> {
        self.secure(options, part.security_context, common.settings.allow_privileged)?;
        self.spec.image_pull_policy = part.image_pull_policy.or_else(|| {
            options.pull.map(|pull| {
                match pull {
                    Pull::Always => "Always",
                    Pull::Missing => "IfNotPresent",
                    Pull::Never => "Never",
                }
                .to_owned()
            })
        });
        let mounts = self.mounts(asked, options, part.volume_mounts, common)?;
        self.spec.volume_mounts = (!mounts.is_empty()).then_some(mounts);
        let mut env_from = part.env_from;
        if self.has_init {
            let init = Volume::new(mount::EPHEMON).init();
            let mut command = vec![init.to_string_lossy().into_owned()];
            let setup = wishes::setup(self.role, options).to_args();
            command.extend(setup.iter().map(|word| words::literal(word)));
            if self.role == Role::Service {
                command.extend(self.volume_args());
                command.push("--".to_owned());
                command.extend(self.main.iter().flatten().cloned());
            }
            self.spec.command = Some(command);
        }
        if !self.has_init || self.role == Role::Service {
            self.spec.args = args.filter(|args| !args.is_empty());
            // The image's own process starts there, so the spec must contain the directory.
            self.spec.working_dir.clone_from(&self.cwd);
            env_from.extend(self.env_by_secret(common));
        }
        self.spec.env_from = (!env_from.is_empty()).then_some(env_from);
        let setup = self.asks_init.then(|| wishes::setup(self.role, options));
        self.spec.env = Some(self.plain_env(part.env, setup.as_ref(), common));
        Ok(())
    }

    /// The container's name in the pod.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }
}

/// Whether the node's agent can be asked to put init in front. A container that stands by must not run
/// its image's own entrypoint before its step, where there is no such agent.
fn may_ask(role: Role, options: &Options, common: &Common<'_>) -> bool {
    let is_role = matches!(role, Role::Service | Role::Step);
    let mut volumes = role.volumes(true).iter();
    common.settings.nri
        && is_role
        && options.init != Some(false)
        && volumes.all(|name| common.pod.volume(name).is_some())
}

/// The workflow's limits, bounded by the operator's.
fn limits(options: &Options, part: &Part) -> Limits {
    let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Limits {
        cpu_millis: least(options.limits.cpu_millis, part.limits.cpu_millis),
        memory_bytes: least(options.limits.memory_bytes, part.limits.memory_bytes),
        pids: least(options.limits.pids, part.limits.pids),
    }
}

#[cfg(test)]
mod tests;

//! What the runner asks for, as an ephemeral container. Pure.
//!
//! No value of the workflow's environment stands in the spec, which anyone who may read pods can
//! read: init gets those of jobs and steps over its socket; those of services, which live longer
//! than any call of the hook, and of an image's own entrypoint go into a Secret.

mod error;
mod security;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EphemeralContainer, SecretEnvSource, VolumeMount,
};

use super::context::Context;
use super::names::{self, Names};
use super::options::{HealthOptions, Options, Pull};
use super::pod_view::PodView;
use super::ports::Port;
use super::request::Container;
use super::settings::Settings;
use super::template::Part;
use super::volumes::{self, Mapped};
use super::words;
use crate::contract::{Limits, Link, TokenDigest, Volume, env, mount};
pub(super) use error::Error;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Job,
    Service,
    Step,
}

/// What every container of a call has in common.
#[derive(Debug)]
pub(super) struct Common<'a> {
    pub(super) settings: &'a Settings,
    pub(super) pod: &'a PodView,
    pub(super) token: TokenDigest,
    /// The hook's own user, whom init is to serve.
    pub(super) uid: u32,
}

/// One container, ready to be asked for.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) role: Role,
    pub(super) spec: EphemeralContainer,
    pub(super) image: String,
    /// Whether init is its first process.
    pub(super) has_init: bool,
    /// What init is to run as the container's own process; the job has none.
    pub(super) main: Option<Vec<String>>,
    /// The workflow's environment for it.
    pub(super) env: Vec<(String, String)>,
    /// The Secret that has to hold `env`, where there is no init to take it.
    pub(super) secret: Option<String>,
    pub(super) cwd: Option<String>,
    /// A user by name, whom init has to find in the image.
    pub(super) user: Option<String>,
    pub(super) links: Vec<Link>,
    pub(super) ports: Vec<Port>,
    /// Host names under which the others look for it.
    pub(super) names: Vec<String>,
    /// `--add-host`.
    pub(super) hosts: Vec<(String, String)>,
    pub(super) health: HealthOptions,
    pub(super) limits: Limits,
    /// The registry that the workflow has credentials for.
    pub(super) registry: Option<String>,
    pub(super) warnings: Vec<String>,
}

// === impl Role ===

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Service => "service",
            Self::Step => "step",
        }
    }

    /// The hook's own volumes that such a container has.
    fn volumes(self, has_init: bool) -> &'static [&'static str] {
        match (self, has_init) {
            (Self::Job, _) => &["work", "externals", "github", "ephemon", "ephemon-bin"],
            (Self::Step, true) => &["work", "github", "ephemon", "ephemon-bin"],
            (Self::Step, false) => &["work", "github"],
            (Self::Service, true) => &["ephemon", "ephemon-bin"],
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
        let options = Options::parse(asked.create_options.as_deref().unwrap_or_default())?;
        options.limits.check()?;
        let stem = match role {
            Role::Job | Role::Step => role.as_str(),
            Role::Service => names::of_image(&image),
        };
        let name = names.take(stem);
        let known = known_as(role, stem, &name, &options);
        let part = part(&known);
        let (main, args) = main_process(role, asked, &options, &part)?;
        let has_init = role == Role::Job || main.is_some();
        let mut planned = Self {
            role,
            image: image.clone(),
            has_init,
            main,
            env: merged_env(asked, &options),
            secret: None,
            cwd: options
                .workdir
                .clone()
                .or(part.working_dir.clone())
                .or_else(|| asked.working_directory.clone()),
            user: None,
            links: Vec::new(),
            ports: Vec::new(),
            names: known.into_iter().filter(|name| names::is_host_name(name)).collect(),
            hosts: options.hosts.clone(),
            health: options.health.clone(),
            limits: limits(&options, &part),
            registry: asked.registry.as_ref().map(|registry| {
                if registry.server_url.is_empty() { "docker.io" } else { &registry.server_url }
                    .to_owned()
            }),
            warnings: options
                .left
                .iter()
                .map(|left| {
                    format!("option {} of {image} is not carried out: {}", left.option, left.why)
                })
                .collect(),
            spec: EphemeralContainer { name, image: Some(image), ..EphemeralContainer::default() },
        };
        for text in asked.port_mappings.iter().chain(&options.publish) {
            planned.ports.extend(Port::parse(text)?);
        }
        planned.fill(asked, &options, part, args, common)?;
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
        let choice = security::User::parse(options.user.as_deref());
        if let security::User::Named(name) = &choice {
            if !self.has_init || self.role == Role::Service {
                return Err(Error::UserByName { image: self.image.clone(), user: name.clone() });
            }
            self.user = Some(name.clone());
        }
        let privileged = options.privileged || !options.cap_add.is_empty();
        if privileged && !common.settings.allow_privileged {
            return Err(Error::Privileged(self.image.clone()));
        }
        self.spec.security_context = security::context(options, &choice, part.security_context);
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
        let mounts = self.mounts(asked, part.volume_mounts, common)?;
        self.spec.volume_mounts = (!mounts.is_empty()).then_some(mounts);
        let mut env_from = part.env_from;
        if self.has_init {
            let init = Volume::new(mount::EPHEMON).init();
            let mut command = vec![init.to_string_lossy().into_owned()];
            if self.role == Role::Service {
                command.push("--".to_owned());
                command.extend(self.main.iter().flatten().cloned());
            }
            self.spec.command = Some(command);
        }
        if !self.has_init || self.role == Role::Service {
            self.spec.args = args.filter(|args| !args.is_empty());
            // The image's own process starts there; the directory must be given with it.
            self.spec.working_dir.clone_from(&self.cwd);
            env_from.extend(self.env_by_secret(common));
        }
        self.spec.env_from = (!env_from.is_empty()).then_some(env_from);
        self.spec.env = Some(self.plain_env(part.env, common));
        Ok(())
    }

    /// The name by which the pod knows it.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    fn mounts(
        &mut self,
        asked: &Container,
        operators: Vec<VolumeMount>,
        common: &Common<'_>,
    ) -> Result<Vec<VolumeMount>, Error> {
        let own = self.role.volumes(self.has_init);
        let missing: Vec<&str> =
            own.iter().copied().filter(|name| common.pod.volume(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(Error::MissingVolumes(missing.join(", ")));
        }
        let mut mounts: Vec<VolumeMount> =
            own.iter().map(|name| volumes::own_mount(name)).collect();
        for entry in &asked.user_mount_volumes {
            let can_link = self.has_init && self.role != Role::Service;
            match volumes::map(entry, common.pod, common.settings, can_link)? {
                Mapped::Mount(mount) => mounts.push(mount),
                Mapped::Link(link) => {
                    if entry.read_only {
                        self.warnings.push(format!(
                            "{} can be written to: it is a link into the workspace",
                            link.path
                        ));
                    }
                    self.links.push(link);
                }
                Mapped::Nothing => {}
            }
        }
        for mount in operators {
            if common.pod.volume(&mount.name).is_none() {
                return Err(Error::TemplateVolume(mount.name));
            }
            mounts.push(mount);
        }
        let mut paths = std::collections::BTreeSet::new();
        match mounts.iter().find(|mount| !paths.insert(mount.mount_path.trim_end_matches('/'))) {
            Some(twice) => Err(Error::MountedTwice(twice.mount_path.clone())),
            None => Ok(mounts),
        }
    }

    /// What may be read by anyone who may read pods.
    fn plain_env(&self, operators: Vec<EnvVar>, common: &Common<'_>) -> Vec<EnvVar> {
        let plain = |name: &str, value: String| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        };
        let mut env = vec![
            plain("GITHUB_ACTIONS", "true".to_owned()),
            plain("CI", "true".to_owned()),
            plain(env::CONTAINER, self.spec.name.clone()),
            plain(env::ROLE, self.role.as_str().to_owned()),
        ];
        if self.has_init {
            env.push(plain(env::TOKEN_SHA256, common.token.to_string()));
            env.push(plain(env::PEER_UID, common.uid.to_string()));
        }
        if !self.limits.is_empty() {
            env.push(plain(env::LIMITS, self.limits.to_string()));
        }
        let identity = common.settings.identity.iter().cloned();
        let context = Context::of(common.settings).container_env(&self.spec.name);
        // The workflow's own trace context wins.
        let context = context.into_iter().filter(|(name, _)| !has(&self.env, name));
        for (name, value) in identity.chain(context) {
            // Kubernetes expands $(NAME) in values.
            env.push(plain(name, words::literal(&value)));
        }
        // Ours cannot be replaced: the agent goes by them.
        env.extend(operators.into_iter().filter(|variable| !variable.name.starts_with("EPHEMON_")));
        env
    }

    /// Plans a Secret for the environment, and where the container finds it.
    pub(super) fn env_by_secret(&mut self, common: &Common<'_>) -> Option<EnvFromSource> {
        self.env.retain(|(name, _)| {
            let fits = !name.is_empty()
                && name.len() <= 253
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
            if !fits {
                self.warnings.push(format!(
                    "{} gets no environment variable {name:?}: the name cannot be handed over without an entrypoint",
                    self.image
                ));
            }
            fits
        });
        if self.env.is_empty() {
            return None;
        }
        let pod = common.settings.pod.as_deref().unwrap_or("runner");
        let name = names::of_secret(pod, &self.spec.name);
        self.secret = Some(name.clone());
        Some(EnvFromSource {
            secret_ref: Some(SecretEnvSource { name, optional: None }),
            ..EnvFromSource::default()
        })
    }
}

/// Every name by which people may call it; the image's own first.
fn known_as(role: Role, stem: &str, name: &str, options: &Options) -> Vec<String> {
    let mut known = options.names.clone();
    if role == Role::Service {
        known.insert(0, stem.to_ascii_lowercase());
        if !known.iter().any(|other| other == name) {
            known.push(name.to_owned());
        }
    }
    known
}

/// What init is to run, or the arguments for the image's own entrypoint.
#[expect(clippy::type_complexity, reason = "one of two lists; both have a name at the only caller")]
fn main_process(
    role: Role,
    asked: &Container,
    options: &Options,
    part: &Part,
) -> Result<(Option<Vec<String>>, Option<Vec<String>>), Error> {
    if role == Role::Job {
        return Ok((None, None));
    }
    let args = words::split(&words::join(None, &asked.entry_point_args));
    let args = args.map_err(|_| Error::Arguments(role.as_str()))?;
    let given = asked.entry_point.as_ref().or(options.entrypoint.as_ref());
    // A step's words go over init's socket, all others into the spec. The operator's are his own.
    let in_spec = role == Role::Service || (part.command.is_none() && given.is_none());
    let literal = |word: &String| if in_spec { words::literal(word) } else { word.clone() };
    let args = part.args.clone().unwrap_or_else(|| args.iter().map(literal).collect());
    let program = match (&part.command, given) {
        (Some(command), _) => command.clone(),
        (None, Some(entry_point)) => vec![literal(entry_point)],
        (None, None) => return Ok((None, Some(args))),
    };
    Ok((Some(program.into_iter().chain(args).collect()), None))
}

fn merged_env(asked: &Container, options: &Options) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = asked.env().into_iter().collect();
    env.extend(options.env.iter().cloned());
    env.into_iter().collect()
}

fn has(env: &[(String, String)], name: &str) -> bool {
    env.iter().any(|(known, _)| known == name)
}

/// The workflow's limits, at most the operator's.
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

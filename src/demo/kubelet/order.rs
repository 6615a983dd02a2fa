//! Converts a container's spec to the shim's order: command, environment, volumes, cgroup, log.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ephemon_contract::{env, mount};
use serde_json::Value;

use super::volumes::Volumes;
use super::{Kind, Shared, logs, spec};
use crate::api::object::{items, text};
use crate::api::store::Key;
use crate::cgroups::{Limits, Place};
use crate::shim::Order;
use crate::view::{Mount, MountMode, View};

/// The parts of a pod that its containers' orders need.
#[derive(Debug)]
pub(super) struct PodContext<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a Key,
    pub(super) pod: &'a Value,
    pub(super) place: &'a Place,
    pub(super) logs: &'a Path,
    pub(super) volumes: &'a Volumes,
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

// === impl PodContext ===

impl PodContext<'_> {
    /// The order for the shim; writes the hosts file and the container's view.
    pub(super) fn order(&self, container: &Value, kind: Kind, id: &str) -> Result<Order, Trouble> {
        let settings = &self.shared.settings;
        let name = text(container, "/name").unwrap_or_default();
        let mut env = spec::environment(&self.key.1, container);
        let inherited = self.env_from(container)?;
        // `env` takes precedence over `envFrom`.
        let own: Vec<String> = env.iter().map(|(name, _)| name.clone()).collect();
        env.extend(inherited.into_iter().filter(|(name, _)| !own.contains(name)));
        for variable in items(container, "/env") {
            if let Some(value) = self.value_of_key(variable)? {
                let name = text(variable, "/name").unwrap_or_default();
                env.iter_mut().filter(|(known, _)| known == name).for_each(|(_, old)| {
                    old.clone_from(&value);
                });
            }
        }
        let directory = settings.root.join("run/containers").join(id);
        fs::create_dir_all(&directory)?;
        let log = match kind {
            Kind::Sandbox => None,
            _ => Some(logs::make(self.logs, name)?),
        };
        let linger = &settings.linger;
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let linger = fastrand::u64(micros(linger.start())..=micros(linger.end()));
        let limits = match kind {
            Kind::Sandbox => Limits::default(),
            _ => spec::container_limits(self.pod, container),
        };
        let mut command = spec::command(&settings.binary, container);
        let place = self.place.child(id);
        let mounts = self.volumes.mounts(container);
        let has_view = !mounts.is_empty();
        if kind != Kind::Sandbox {
            self.volumes.write_hosts(&self.key.1)?;
        }
        let view = View {
            mount_mode: self.shared.mount_mode,
            root: directory.join("rootfs"),
            mounts,
            hosts: self.volumes.hosts(),
            cgroups: place.shown(),
            working_directory: text(container, "/workingDir").map(PathBuf::from),
        };
        let view = if has_view {
            Some(self.write_view(view, &directory, &mut command, &mut env)?)
        } else {
            None
        };
        Ok(Order {
            command,
            env,
            directory,
            view,
            log,
            place,
            limits,
            linger: Duration::from_micros(linger),
        })
    }

    /// Writes the view for the first process, and adapts the command to it.
    fn write_view(
        &self,
        mut view: View,
        directory: &Path,
        command: &mut Vec<String>,
        env: &mut Vec<(String, String)>,
    ) -> Result<PathBuf, Trouble> {
        fs::create_dir_all(&view.root)?;
        if let Some(program) = command.first_mut()
            && Path::new(program) == self.shared.settings.binary
        {
            // This program, wherever its file is visible.
            "/proc/self/exe".clone_into(program);
        }
        if view.mount_mode == MountMode::Textual {
            view.working_directory = view
                .working_directory
                .as_ref()
                .and_then(|path| path.to_str())
                .map(|path| view.on_node(path).unwrap_or_else(|| path.into()));
            let values = env.iter_mut().map(|(_, value)| value);
            for mount in &view.mounts {
                let target = mount.target.strip_prefix("/").unwrap_or(&mount.target);
                // Links at mount paths are created below the view's root.
                fs::create_dir_all(view.root.join(target))?;
            }
            nest(&view.mounts)?;
            replace(&view.mounts, command.iter_mut().chain(values));
            lead_init(&view, command, env);
        }
        let path = directory.join("view.json");
        fs::write(&path, serde_json::to_vec(&view).map_err(io::Error::from)?)?;
        Ok(path)
    }

    /// The value of a variable that refers to a Secret; `None` for any other.
    fn value_of_key(&self, variable: &Value) -> Result<Option<String>, Trouble> {
        let Some(source) = variable.pointer("/valueFrom/secretKeyRef") else {
            return Ok(None);
        };
        let part = |pointer| text(source, pointer).unwrap_or_default();
        let (name, key) = (part("/name"), part("/key"));
        let secret = (self.key.0.clone(), name.to_owned());
        let optional = source.get("optional").and_then(Value::as_bool) == Some(true);
        let values = self.shared.store.secrets().values(&secret);
        let is_there = values.is_some();
        let value = values.into_iter().flatten().find(|(known, _)| known == key);
        match value {
            Some((_, value)) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            None if optional => Ok(None),
            None if is_there => {
                let space = &self.key.0;
                Err(Trouble::Config(format!("couldn't find key {key} in Secret {space}/{name}")))
            }
            None => Err(Trouble::Config(format!("secret \"{name}\" not found"))),
        }
    }

    /// Source: kubernetes v1.36.2, `kubelet_pods.go`, `makeEnvironmentVariables`.
    fn env_from(&self, container: &Value) -> Result<Vec<(String, String)>, Trouble> {
        let mut env = Vec::new();
        for source in items(container, "/envFrom") {
            let Some(name) = text(source, "/secretRef/name") else { continue };
            let secret = (self.key.0.clone(), name.to_owned());
            let optional = source.pointer("/secretRef/optional").and_then(Value::as_bool);
            let Some(values) = self.shared.store.secrets().values(&secret) else {
                if optional == Some(true) {
                    continue;
                }
                return Err(Trouble::Config(format!("secret \"{name}\" not found")));
            };
            let prefix = text(source, "/prefix").unwrap_or_default();
            env.extend(values.into_iter().map(|(name, value)| {
                (format!("{prefix}{name}"), String::from_utf8_lossy(&value).into_owned())
            }));
        }
        Ok(env)
    }
}

/// A volume that is mounted in another becomes a link in it.
fn nest(mounts: &[Mount]) -> io::Result<()> {
    for (inner, outer) in mounts.iter().flat_map(|inner| mounts.iter().map(move |o| (inner, o))) {
        let Ok(below) = inner.target.strip_prefix(&outer.target) else { continue };
        let link = outer.source.join(below);
        if !below.as_os_str().is_empty() && !link.exists() {
            symlink(&inner.source, link)?;
        }
    }
    Ok(())
}

/// Tells `ephemon-init` the paths of what a view would have at its usual path.
fn lead_init(view: &View, command: &mut Vec<String>, env: &mut Vec<(String, String)>) {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    let Some(volume) = view.on_node(mount::EPHEMON) else { return };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    env.push((env::VOLUME.to_owned(), text(&volume)));
    if program.is_some_and(|program| program == "ephemon-init") {
        let mut words = vec!["--hosts".to_owned(), text(&view.hosts)];
        words.extend(["--root".to_owned(), text(&view.root)]);
        if let [(None, cgroup)] = view.cgroups.as_slice() {
            words.extend(["--cgroup".to_owned(), text(cgroup)]);
        }
        command.splice(1..1, words);
    }
}

/// Replaces mount paths by the node's paths.
fn replace<'a>(mounts: &[Mount], words: impl Iterator<Item = &'a mut String>) {
    for word in words {
        if let Some(path) = crate::view::on_node(mounts, word) {
            *word = path.to_string_lossy().into_owned();
        }
    }
}

//! The operator's extension template, in the format of the reference hook (its ADR 0134): a pod
//! template whose containers `$job`, `$step` and `$SERVICE` contain additions to the hook's
//! containers, and `$*` additions to all services that have no entry of their own.
//!
//! Fields that an ephemeral container supports are used; for every other field there is a warning
//! that says where to set it instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ephemon_contract::Limits;
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, SecurityContext, VolumeMount};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most bytes of a template; the whole spec of a pod cannot be larger.
const MAX_BYTES: u64 = 1024 * 1024;

/// The entry for all other services; no image can have this name.
const OTHER_SERVICES: &str = "*";

/// The operator's additions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Template {
    /// By the name after `$`.
    parts: BTreeMap<String, Part>,
    /// Sentences for the log of `prepare_job`.
    pub(super) warnings: Vec<String>,
}

/// Additions to one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    pub(super) env: Vec<EnvVar>,
    pub(super) env_from: Vec<EnvFromSource>,
    pub(super) volume_mounts: Vec<VolumeMount>,
    pub(super) security_context: Option<SecurityContext>,
    pub(super) image_pull_policy: Option<String>,
    pub(super) working_dir: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) limits: Limits,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the hook's template {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the hook's template {0} is over 1 MiB")]
    TooLong(PathBuf),
    #[error("the hook's template {path} is not valid YAML: {why}")]
    NotYaml { path: PathBuf, why: String },
    #[error(
        "the hook's template {0} is empty; remove the setting that names it, or write spec.containers"
    )]
    Empty(PathBuf),
    #[error(
        "the hook's template {path} is not a pod template: {what}; write spec.containers with a list of containers"
    )]
    Shape { path: PathBuf, what: &'static str },
    #[error("the hook's template: {field} of container {container:?} is not valid in a pod")]
    Field { container: String, field: &'static str },
}

// === impl Template ===

impl Template {
    /// Reads the operator's file; without a file there are no additions.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::default()) };
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(Error::TooLong(path.to_owned()));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let yaml: Value = serde_saphyr::from_str(&text).map_err(|error| Error::NotYaml {
            path: path.to_owned(),
            why: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        check_shape(path, &yaml)?;
        Self::of(&yaml)
    }

    fn of(yaml: &Value) -> Result<Self, Error> {
        let mut template = Self::default();
        for field in ["labels", "annotations"] {
            if yaml.pointer(&format!("/metadata/{field}")).is_some_and(|value| !value.is_null()) {
                template.warn(format!(
                    "metadata.{field} of the hook's template is not used: the pod is the runner's own; put it in the runner's pod template"
                ));
            }
        }
        for (field, value) in yaml.get("spec").and_then(Value::as_object).into_iter().flatten() {
            match field.as_str() {
                "containers" => template.containers(value)?,
                field => template.warn(format!(
                    "spec.{field} of the hook's template is not used: it belongs to the pod; put it in the runner's pod template"
                )),
            }
        }
        Ok(template)
    }

    /// Additions to the job container.
    pub(super) fn job(&self) -> Part {
        self.parts.get("job").cloned().unwrap_or_default()
    }

    /// Additions to a container step: `$step`, or else `$job`.
    pub(super) fn step(&self) -> Part {
        self.parts.get("step").or_else(|| self.parts.get("job")).cloned().unwrap_or_default()
    }

    /// Additions to a service: the entry for any of its names, or else the one for all others.
    pub(super) fn service<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Part {
        let own = names.into_iter().find_map(|name| self.parts.get(name));
        own.or_else(|| self.parts.get(OTHER_SERVICES)).cloned().unwrap_or_default()
    }

    fn containers(&mut self, list: &Value) -> Result<(), Error> {
        for container in list.as_array().into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(target) = name.strip_prefix('$').filter(|target| !target.is_empty()) else {
                self.warn(format!(
                    "container {name:?} of the hook's template is not started: put sidecars in the runner's pod template"
                ));
                continue;
            };
            let part = self.part(name, container)?;
            self.parts.insert(target.to_owned(), part);
        }
        Ok(())
    }

    fn part(&mut self, name: &str, container: &Value) -> Result<Part, Error> {
        let mut part = Part::default();
        for (field, value) in container.as_object().into_iter().flatten() {
            match field.as_str() {
                // The hook's values are kept, as in the reference hook.
                "name" | "image" => {}
                "env" => part.env = typed(name, "env", value)?,
                "envFrom" => part.env_from = typed(name, "envFrom", value)?,
                "volumeMounts" => part.volume_mounts = typed(name, "volumeMounts", value)?,
                "securityContext" => {
                    part.security_context = typed(name, "securityContext", value)?;
                }
                "imagePullPolicy" => {
                    part.image_pull_policy = typed(name, "imagePullPolicy", value)?;
                }
                "workingDir" => part.working_dir = typed(name, "workingDir", value)?,
                "command" => part.command = typed(name, "command", value)?,
                "args" => part.args = typed(name, "args", value)?,
                "resources" => part.limits = self.resources(name, value),
                "ports" => self.warn(format!(
                    "ports of container {name:?} in the hook's template are not used: every port is open to the other containers of the job"
                )),
                field => self.warn(format!(
                    "{field} of container {name:?} in the hook's template is not used: ephemeral containers do not support it"
                )),
            }
        }
        for mount in &part.volume_mounts {
            if mount.sub_path.is_some() || mount.sub_path_expr.is_some() {
                self.warn(format!(
                    "mount {:?} of container {name:?} in the hook's template is not used: ephemeral containers do not support subPath",
                    mount.mount_path
                ));
            }
        }
        part.volume_mounts
            .retain(|mount| mount.sub_path.is_none() && mount.sub_path_expr.is_none());
        // One command for all services would replace the command of each; that of `$job` would
        // apply to every action.
        let why = match name {
            "$job" => "ephemon-init is the job container's first process",
            "$*" => "each service has its own",
            _ => return Ok(part),
        };
        if part.command.take().is_some() | part.args.take().is_some() {
            self.warn(format!(
                "command and args of container {name:?} in the hook's template are not used: {why}"
            ));
        }
        Ok(part)
    }

    /// Limits that the agent can enforce.
    fn resources(&mut self, name: &str, resources: &Value) -> Limits {
        let mut limits = Limits::default();
        for (field, value) in resources.as_object().into_iter().flatten() {
            if field != "limits" {
                self.warn(format!(
                    "resources.{field} of container {name:?} in the hook's template are not used: ephemeral containers have no requests; put them in the runner's pod template"
                ));
                continue;
            }
            for (resource, quantity) in value.as_object().into_iter().flatten() {
                let quantity = match quantity {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let read = |key: &str| format!("{key}={quantity}").parse::<Limits>().ok();
                match (resource.as_str(), read("cpus"), read("memory")) {
                    ("cpu", Some(read), _) => limits.cpu_millis = read.cpu_millis,
                    ("memory", _, Some(read)) => limits.memory_bytes = read.memory_bytes,
                    _ => self.warn(format!(
                        "resources.limits.{resource} of container {name:?} in the hook's template is not used: only cpu and memory can be limited"
                    )),
                }
            }
        }
        limits
    }

    fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }
}

/// A file without content, or with other content, is an error, because the operator's intent would
/// be lost.
fn check_shape(path: &Path, yaml: &Value) -> Result<(), Error> {
    let wrong = |what| Err(Error::Shape { path: path.to_owned(), what });
    let root = match yaml {
        Value::Null => return Err(Error::Empty(path.to_owned())),
        Value::Object(root) if root.is_empty() => return Err(Error::Empty(path.to_owned())),
        Value::Object(root) => root,
        Value::String(_) => return wrong("it is one string"),
        _ => return wrong("it is not a mapping"),
    };
    let containers = match root.get("spec") {
        None | Some(Value::Null) if root.contains_key("metadata") => return Ok(()),
        None | Some(Value::Null) => return wrong("it has no spec"),
        Some(Value::Object(spec)) => spec.get("containers"),
        Some(_) => return wrong("its spec is not a mapping"),
    };
    match containers {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => Ok(()),
        Some(Value::Array(_)) => wrong("an entry of its spec.containers is not a mapping"),
        Some(_) => wrong("its spec.containers is not a list"),
    }
}

fn typed<T: DeserializeOwned>(
    container: &str,
    field: &'static str,
    value: &Value,
) -> Result<T, Error> {
    T::deserialize(value).map_err(|_| Error::Field { container: container.to_owned(), field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(yaml: &str) -> Result<Template, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("template.yaml");
        fs::write(&path, yaml).unwrap();
        Template::load(Some(&path))
    }

    #[test]
    fn what_a_container_can_carry_is_taken() {
        let template = template(
            r#"
spec:
  containers:
    - name: $job
      env: [{name: PROXY, value: "http://p"}]
      securityContext: {runAsUser: 1001}
      imagePullPolicy: Always
      resources: {limits: {cpu: 500m, memory: 1Gi}}
      volumeMounts: [{name: cache, mountPath: /cache}]
    - name: $redis
      command: [redis-server]
      args: [--port, "7000"]
"#,
        )
        .unwrap();
        let job = template.job();
        assert_eq!(job.env[0].name, "PROXY");
        assert_eq!(job.security_context.unwrap().run_as_user, Some(1001));
        assert_eq!(job.limits.to_string(), "cpus=500m,memory=1073741824");
        assert_eq!(job.volume_mounts[0].mount_path, "/cache");
        let redis = template.service(["cache", "redis"]);
        assert_eq!(redis.command.unwrap(), ["redis-server"]);
        assert_eq!(template.service(["mysql"]), Part::default());
        assert_eq!(template.step(), template.job());
        assert!(template.warnings.is_empty(), "{:?}", template.warnings);
    }

    #[test]
    fn what_it_cannot_carry_is_a_warning_that_says_where_it_belongs() {
        let template = template(
            r"
metadata: {labels: {a: b}}
spec:
  nodeSelector: {disk: ssd}
  containers:
    - name: sidecar
      image: x
    - name: $job
      livenessProbe: {exec: {command: [a]}}
      resources: {requests: {cpu: 1}, limits: {nvidia.com/gpu: 1}}
      volumeMounts: [{name: cache, mountPath: /c, subPath: s}]
",
        )
        .unwrap();
        let warnings = template.warnings.join("\n");
        for word in [
            "metadata.labels",
            "spec.nodeSelector",
            "sidecar",
            "livenessProbe",
            "requests",
            "gpu",
            "subPath",
        ] {
            assert!(warnings.contains(word), "{word} in {warnings}");
        }
        assert!(template.job().volume_mounts.is_empty());
    }

    #[test]
    fn services_without_a_part_of_their_own_have_that_of_all_others() {
        let template = template(
            r#"
spec:
  containers:
    - name: $*
      imagePullPolicy: Always
      command: [not, for, all]
    - name: $redis
      workingDir: /redis
    - name: $job
      args: ["not", "for", "actions"]
      workingDir: /job
"#,
        )
        .unwrap();
        let other = template.service(["mysql"]);
        assert_eq!(other.image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(other.command, None);
        let redis = template.service(["cache", "redis"]);
        assert_eq!((redis.working_dir.as_deref(), redis.image_pull_policy), (Some("/redis"), None));
        // An action keeps its own entrypoint.
        let step = template.step();
        assert_eq!((step.args, step.working_dir.as_deref()), (None, Some("/job")));
        assert_eq!(template.warnings.len(), 2, "{:?}", template.warnings);
    }

    #[test]
    fn what_is_no_pod_template_is_an_error_that_says_so() {
        for (text, words) in [
            ("", "is empty"),
            ("# nothing\n", "is empty"),
            ("{}", "is empty"),
            ("job", "one string"),
            ("[]", "not a mapping"),
            ("5", "not a mapping"),
            ("containers: []", "no spec"),
            ("spec: job", "spec is not a mapping"),
            ("spec: {containers: {name: $job}}", "not a list"),
            ("spec: {containers: [$job]}", "not a mapping"),
        ] {
            let error = template(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(template("metadata: {labels: {a: b}}").is_ok());
    }

    #[test]
    fn a_template_that_is_missing_or_wrong_is_an_error() {
        assert!(matches!(
            Template::load(Some(Path::new("/nonexistent/t.yaml"))),
            Err(Error::Unreadable { .. })
        ));
        assert!(matches!(template("a: [b"), Err(Error::NotYaml { .. })));
        let wrong = template("spec: {containers: [{name: $job, env: 5}]}");
        assert!(matches!(wrong, Err(Error::Field { field: "env", .. })));
        assert_eq!(template("spec: {}").unwrap(), Template::default());
    }
}

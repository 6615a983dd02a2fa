//! The runner's requests to its hook: one line of JSON with camel-case names, and nulls for missing
//! values. Pure.
//!
//! Source: actions/runner v2.336.0, `HookInput.cs`, `ContainerInfo.cs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A job or service container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    pub(crate) image: String,
    pub(crate) entry_point_args: Vec<String>,
    pub(crate) options: Option<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) ports: Vec<String>,
}

/// A `run:` step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) env: Vec<(String, String)>,
}

/// A container action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Action {
    pub(crate) image: String,
    pub(crate) entry_point: Option<String>,
    /// As written in the workflow: the runner puts quotes around each.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

// === impl Container ===

impl Container {
    /// `working_directory` for a job container, `None` for a service.
    pub(super) fn to_json(&self, working_directory: Option<&str>, work: &str) -> Value {
        let mut env: BTreeMap<&str, &str> =
            self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut mounts = Vec::new();
        if working_directory.is_some() {
            env.insert("HOME", "/github/home");
            mounts = system_mounts(work);
        }
        json!({
            "image": self.image,
            "dockerfile": null,
            "entryPointArgs": self.entry_point_args,
            "entryPoint": null,
            "workingDirectory": working_directory,
            "createOptions": self.options,
            "registry": null,
            "environmentVariables": env,
            "portMappings": self.ports,
            "systemMountVolumes": mounts,
            "userMountVolumes": [],
        })
    }
}

// === impl Action ===

impl Action {
    /// The arguments of `run_container_step`.
    pub(super) fn to_json(&self, working_directory: &str, work: &str) -> Value {
        let quoted = self.args.iter().map(|arg| format!("\"{}\"", arg.replace('"', "\\\"")));
        let joined = quoted.collect::<Vec<_>>().join(" ");
        let args: Vec<_> = joined.split(' ').map(str::trim).filter(|arg| !arg.is_empty()).collect();
        let env: BTreeMap<_, _> = self.env.iter().cloned().collect();
        json!({
            "image": self.image,
            "dockerfile": null,
            "entryPointArgs": args,
            "entryPoint": self.entry_point,
            "workingDirectory": working_directory,
            "createOptions": null,
            "registry": null,
            "environmentVariables": env,
            "portMappings": [],
            "systemMountVolumes": system_mounts(work),
            "userMountVolumes": [],
        })
    }
}

fn system_mounts(work: &str) -> Vec<Value> {
    let mount = |source: String, target: &str, read_only: bool| {
        json!({
            "userProvidedValue": null,
            "sourceVolumePath": source,
            "targetVolumePath": target,
            "readOnly": read_only,
        })
    };
    vec![
        mount("/var/run/docker.sock".to_owned(), "/var/run/docker.sock", false),
        mount(work.to_owned(), "/__w", false),
        mount("/home/runner/externals".to_owned(), "/__e", true),
        mount(format!("{work}/_temp"), "/__w/_temp", false),
        mount(format!("{work}/_actions"), "/__w/_actions", false),
        mount(format!("{work}/_tool"), "/__w/_tool", false),
        mount(format!("{work}/_temp/_github_home"), "/github/home", false),
        mount(format!("{work}/_temp/_github_workflow"), "/github/workflow", false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actions_arguments_are_quoted_and_then_split_without_regard_to_the_quotes() {
        let action = Action { args: vec!["a".to_owned(), "b c".to_owned()], ..Action::default() };
        let json = action.to_json("/github/workspace", "/w");
        assert_eq!(json["entryPointArgs"], json!(["\"a\"", "\"b", "c\""]));
        assert_eq!(json["dockerfile"], Value::Null);
    }

    #[test]
    fn only_a_job_container_has_a_home_and_the_runners_mounts() {
        let container = Container { image: "i".to_owned(), ..Container::default() };
        let service = container.to_json(None, "/w");
        assert_eq!(
            (&service["environmentVariables"], &service["systemMountVolumes"]),
            (&json!({}), &json!([]))
        );
        let job = container.to_json(Some("/__w/r/r"), "/w");
        assert_eq!(job["environmentVariables"]["HOME"], "/github/home");
        assert_eq!(job["systemMountVolumes"][1]["targetVolumePath"], "/__w");
    }
}

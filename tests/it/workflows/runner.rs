//! A job section as the runner hands it to the hook (actions/runner 2.336.0: `ContainerInfo.cs`,
//! `HookInput.cs`, `ContainerOperationProvider.cs`, `ContainerActionHandler.cs`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

const WORK: &str = "/home/runner/_work";

/// What a workflow says of one job's containers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// Repository, path and job; or `case` and the name of a recorded request.
    pub(super) source: String,
    container: Option<Container>,
    #[serde(default)]
    services: BTreeMap<String, Container>,
    #[serde(default)]
    steps: Vec<Step>,
    pub(super) class: super::Class,
    /// Words that the warnings or the error must have.
    #[serde(default)]
    pub(super) why: Vec<String>,
}

/// `container:`, or one of `services:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    image: String,
    #[serde(default)]
    credentials: bool,
    #[serde(default)]
    env: Env,
    options: Option<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    entrypoint: Option<String>,
    command: Option<String>,
}

/// A step of `docker://`, or of an action with `runs.using: docker`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    image: Option<String>,
    /// The action brings a file to build.
    #[serde(default)]
    dockerfile: bool,
    entrypoint: Option<String>,
    args: Option<Args>,
    /// Names in `with:` beside entrypoint and args.
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    env: Env,
}

/// Names, whose values are of no account, or both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Env {
    Names(Vec<String>),
    Values(BTreeMap<String, String>),
}

/// `with: args` of a step, or `runs.args` of an action.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Args {
    Line(String),
    List(Vec<String>),
}

// === impl Env ===

impl Default for Env {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl Env {
    fn all(&self) -> BTreeMap<String, String> {
        match self {
            Self::Names(names) => names.iter().map(|name| (name.clone(), "x".to_owned())).collect(),
            Self::Values(values) => values.clone(),
        }
    }
}

// === impl Section ===

impl Section {
    /// Of the repository, without its owner.
    pub(super) fn workspace(&self) -> String {
        let repository = self.source.split(' ').next().and_then(|full| full.split_once('/'));
        let name = repository.map_or("widgets", |(_, name)| name);
        format!("{WORK}/{name}/{name}")
    }

    /// Every request with containers, in the job's order. Without containers the runner prepares
    /// nothing.
    pub(super) fn requests(&self) -> Vec<Value> {
        let workspace = self.workspace();
        let mut requests = Vec::new();
        if self.container.is_some() || !self.services.is_empty() {
            let services: Vec<Value> =
                self.services.values().map(Container::hook_container).collect();
            let job = self.container.as_ref().map(|container| container.job(&workspace));
            requests.push(call("prepare_job", &json!({"container": job, "services": services})));
        }
        let steps = self.steps.iter().map(|step| step.hook_container(&workspace));
        requests.extend(steps.map(|step| call("run_container_step", &step)));
        requests
    }
}

// === impl Container ===

impl Container {
    fn job(&self, workspace: &str) -> Value {
        let mut container = self.hook_container();
        container["environmentVariables"]["HOME"] = json!("/github/home");
        container["workingDirectory"] = json!(in_job(workspace));
        let temp = format!("{WORK}/_temp");
        container["systemMountVolumes"] = json!([
            mount("/var/run/docker.sock", "/var/run/docker.sock", false),
            mount(WORK, "/__w", false),
            mount("/home/runner/externals", "/__e", true),
            mount(&temp, "/__w/_temp", false),
            mount(&format!("{WORK}/_actions"), "/__w/_actions", false),
            mount(&format!("{WORK}/_tool"), "/__w/_tool", false),
            mount(&format!("{temp}/_github_home"), "/github/home", false),
            mount(&format!("{temp}/_github_workflow"), "/github/workflow", false),
        ]);
        container
    }

    fn hook_container(&self) -> Value {
        let image = self.image.strip_prefix("docker://").unwrap_or(&self.image);
        let server = server(image);
        // The runner fills in its own token for the registry of the place it runs at.
        let registry = (self.credentials || server == "ghcr.io")
            .then(|| json!({"username": "x", "password": "x", "serverUrl": server}));
        let mut ports: Vec<&String> = Vec::new();
        // A dictionary by the whole text.
        self.ports.iter().for_each(|port| {
            if !ports.contains(&port) {
                ports.push(port);
            }
        });
        json!({
            "image": image,
            "dockerfile": null,
            "entryPointArgs": torn(self.command.as_deref()),
            "entryPoint": self.entrypoint,
            "workingDirectory": null,
            "createOptions": self.options,
            "registry": registry,
            "environmentVariables": self.env.all(),
            "portMappings": ports,
            "systemMountVolumes": [],
            "userMountVolumes":
                self.volumes.iter().map(|volume| user_mount(volume)).collect::<Vec<_>>(),
        })
    }
}

// === impl Step ===

impl Step {
    fn hook_container(&self, workspace: &str) -> Value {
        let args = match &self.args {
            None => None,
            Some(Args::Line(line)) => Some(line.clone()),
            Some(Args::List(list)) => {
                let quoted = |arg: &String| format!(" \"{}\"", arg.replace('"', "\\\""));
                Some(list.iter().map(quoted).collect())
            }
        };
        let mut env = self.env.all();
        let inputs = self.inputs.iter();
        env.extend(inputs.map(|name| (input(name), "x".to_owned())));
        // An action's own are no inputs.
        if let Some(Args::Line(line)) = &self.args {
            env.insert(input("args"), line.clone());
        }
        let own = [
            ("HOME", "/github/home"),
            ("GITHUB_WORKSPACE", "/github/workspace"),
            ("GITHUB_EVENT_PATH", "/github/workflow/event.json"),
            ("RUNNER_TEMP", "/github/runner_temp"),
            ("GITHUB_OUTPUT", "/github/file_commands/set_output_7"),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let temp = format!("{WORK}/_temp");
        json!({
            "image": if self.dockerfile { None } else { self.image.as_deref() },
            "dockerfile": self.dockerfile.then_some(format!("{WORK}/_actions/o/a/v1/Dockerfile")),
            "entryPointArgs": torn(args.as_deref()),
            "entryPoint": self.entrypoint,
            "workingDirectory": "/github/workspace",
            "createOptions": null,
            "registry": null,
            "environmentVariables": env,
            "portMappings": [],
            "systemMountVolumes": [
                mount("/var/run/docker.sock", "/var/run/docker.sock", false),
                mount(&temp, "/github/runner_temp", false),
                mount(&format!("{temp}/_github_home"), "/github/home", false),
                mount(&format!("{temp}/_github_workflow"), "/github/workflow", false),
                mount(&format!("{temp}/_runner_file_commands"), "/github/file_commands", false),
                mount(workspace, "/github/workspace", false),
            ],
            "userMountVolumes": [],
        })
    }
}

fn call(command: &str, args: &Value) -> Value {
    let answer = format!("{WORK}/_temp/_runner_hook_responses/answer.json");
    json!({"command": command, "responseFile": answer, "state": null, "args": args})
}

fn in_job(path: &str) -> String {
    path.replacen(WORK, "/__w", 1)
}

fn input(name: &str) -> String {
    format!("INPUT_{}", name.replace(' ', "_").to_uppercase())
}

/// At every blank, trimmed, nothing empty kept.
fn torn(line: Option<&str>) -> Vec<&str> {
    let pieces = line.into_iter().flat_map(|line| line.split(' ')).map(str::trim);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// The part before the first slash where it is a host, or where there are two slashes.
fn server(image: &str) -> &str {
    let parts: Vec<&str> = image.split('/').collect();
    match parts.as_slice() {
        [host, _] if host.contains([':', '.']) => host,
        [host, _, _, ..] => host,
        _ => "",
    }
}

fn mount(source: &str, target: &str, read_only: bool) -> Value {
    json!({
        "userProvidedValue": null,
        "sourceVolumePath": source,
        "targetVolumePath": target,
        "readOnly": read_only,
    })
}

fn user_mount(text: &str) -> Value {
    let parts: Vec<&str> = text.split(':').collect();
    let is_ro = |word: &str| word.eq_ignore_ascii_case("ro");
    let (source, target, read_only) = match parts.as_slice() {
        [source, target, mode] => (Some(*source), *target, is_ro(mode)),
        [target, mode] if is_ro(mode) => (None, *target, true),
        [source, target] => (Some(*source), *target, false),
        _ => (None, text, false),
    };
    json!({
        "userProvidedValue": text,
        "sourceVolumePath": source,
        "targetVolumePath": target,
        "readOnly": read_only,
    })
}

//! Job sections of public workflows: what becomes of each, by the hook's own decisions.
//!
//! `sections.json` holds facts, one section a line: images, ports, options, names of variables,
//! volumes. What an expression says is put in, values are harmless ones. Every section is translated
//! by the runner's rules and planned for a pod with the hook's own volumes, with no privileges
//! allowed, as the chart ships it. Of actions that bring a Dockerfile, which the reference hook
//! refuses as well, there are three only, of nine that the same repositories use.

mod runner;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use ephemon_hook::dry_run;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use runner::Section;

const SECTIONS: &str = include_str!("workflows/sections.json");
/// Most of a hundred sections that may be refused.
const REFUSED_PERCENT: usize = 3;

/// What becomes of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    /// Nothing is said.
    Runs,
    /// It runs, and something is not as in Docker.
    Warns,
    /// The call fails, with a reason.
    Refused,
}

/// A pod with the volumes of the chart.
fn pod() -> Pod {
    let names = ["work", "externals", "github", "ephemon", "ephemon-bin"];
    let volumes = names.map(|name| json!({"name": name, "emptyDir": {}}));
    let limits = json!({"limits": {"memory": "8Gi"}});
    let runner = json!({"name": "runner", "image": "runner:1", "resources": limits});
    let pod = json!({
        "metadata": {"name": "runner-1", "uid": "u"},
        "spec": {"containers": [runner], "volumes": volumes},
    });
    serde_json::from_value(pod).unwrap()
}

/// The class of a request, and all sentences.
fn judged(request: &Value, workspace: &str, root: &Path) -> (Class, String) {
    let variable = |name: &str| match name {
        "ACTIONS_RUNNER_POD_NAME" => Some("runner-1".to_owned()),
        "RUNNER_TEMP" => Some("/home/runner/_work/_temp".to_owned()),
        "GITHUB_WORKSPACE" => Some(workspace.to_owned()),
        _ => None,
    };
    match dry_run(request.to_string().as_bytes(), &pod(), variable, root) {
        Err(error) => (Class::Refused, error.to_string()),
        Ok(plan) if plan.warnings.is_empty() => (Class::Runs, String::new()),
        Ok(plan) => (Class::Warns, plan.warnings.join("\n")),
    }
}

/// As much of the runner's image as volumes of sections name.
fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["opt", "usr"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    root
}

fn sections() -> Vec<Section> {
    serde_json::from_str(SECTIONS).unwrap()
}

#[test]
fn each_section_is_of_its_class() {
    let root = root();
    let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
    let mut wrong = String::new();
    for section in sections() {
        let workspace = section.workspace();
        let requests = section.requests();
        let verdicts = requests.iter().map(|request| judged(request, &workspace, root.path()));
        let (classes, said): (Vec<Class>, Vec<String>) = verdicts.unzip();
        let class = classes.into_iter().max().unwrap_or(Class::Runs);
        let said = said.join("\n");
        let missing: Vec<&String> =
            section.why.iter().filter(|word| !said.contains(word.as_str())).collect();
        if class != section.class || !missing.is_empty() {
            writeln!(
                wrong,
                "{}: {class:?} instead of {:?}, without {missing:?}: {said}",
                section.source, section.class
            )
            .unwrap();
        }
        if !section.source.starts_with("case ") {
            *counts.entry(class).or_default() += 1;
        }
    }
    let all: usize = counts.values().sum();
    println!("{all} sections: {counts:?}");
    assert!(wrong.is_empty(), "\n{wrong}");
    let refused = counts.get(&Class::Refused).copied().unwrap_or_default();
    assert!(all >= 120 && refused * 100 <= all * REFUSED_PERCENT, "{refused} of {all} refused");
}

/// The records leave out where the answer goes, and some variables of a step.
fn comparable(mut request: Value) -> Value {
    request["responseFile"].take();
    if request["command"] == "run_container_step" {
        request["args"].as_object_mut().unwrap().remove("environmentVariables");
    }
    request
}

/// What was recorded of the runner, told as sections: the translation above is the runner's own.
#[test]
fn sections_become_what_the_runner_sends() {
    let requests = concat!(env!("CARGO_MANIFEST_DIR"), "/it/workflows/requests");
    let sections = sections();
    let cases = sections.iter().filter_map(|section| {
        section.source.strip_prefix("case ").map(|case| (case, section.requests()))
    });
    let mut seen = 0;
    for (case, translated) in cases {
        for (suffix, ours) in ["", ".2"].into_iter().zip(translated) {
            let text = fs::read_to_string(format!("{requests}/{case}{suffix}.json")).unwrap();
            let theirs: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(comparable(ours), comparable(theirs), "{case}{suffix}");
            seen += 1;
        }
    }
    assert_eq!(fs::read_dir(requests).unwrap().count(), seen);
}

//! Invariants of the code map that a search of the text can hold to: host paths, queues, figures, limits.

use std::fmt::Write;

use super::{Source, assert_listed_only_by, check, code};

/// Crates of `src` that do not run on a node beside the kubelet, or that a job's containers run.
const ELSEWHERE: [&str; 7] =
    ["client", "contract", "demo", "hook", "init", "kubectl", "kube-config"];

/// Directories of the host.
const HOST: [&str; 6] = ["/proc", "/sys", "/var/log", "/var/lib/kubelet", "/run", "/var/run"];

/// Where one is named and not opened, and why.
const NAMED: [(&str, &str); 5] = [
    ("src/agent/check/node.rs", "compares `--node-root`'s with the host's own"),
    ("src/agent/kubelet_root.rs", "the candidates, which it joins to the root"),
    ("src/discovery/nested/engine_files.rs", "paths in the roots of containers"),
    ("src/logs/pipeline.rs", "an attribute: the path as the node has it"),
    ("src/mask/environment.rs", "values that are paths, not secrets"),
];

/// `/proc/self` is this process's own, wherever the node's root is.
#[test]
fn host_paths_are_joined_to_the_node_root() {
    check(|source, wrong| {
        let is_named = NAMED.iter().any(|(path, _)| *path == source.path);
        let Some(name) = crate_of(source).filter(|_| !is_named) else { return };
        if ELSEWHERE.contains(&name) {
            return;
        }
        for line in code(&source.text).filter(|line| names_host(line)) {
            writeln!(wrong, "{}: {}: join it to `NodeRoot`", source.path, line.trim()).unwrap();
        }
    });
}

#[test]
fn every_exemption_for_a_host_path_is_needed() {
    let mut missing: Vec<&str> = NAMED.iter().map(|(path, _)| *path).collect();
    for source in super::sources() {
        if crate_of(&source).is_some() && code(&source.text).any(names_host) {
            missing.retain(|path| *path != source.path);
        }
    }
    assert!(missing.is_empty(), "no path of the host is named in {missing:?}");
}

#[test]
fn every_queue_has_a_bound() {
    check(|source, wrong| {
        if crate_of(source).is_none() {
            return;
        }
        for line in code(&source.text).filter(|line| is_unbounded(line)) {
            writeln!(wrong, "{}: {}: has no bound", source.path, line.trim()).unwrap();
        }
    });
}

/// An absent kernel file is an absent figure, and a limit is no number that stands for none.
#[test]
fn figures_of_the_kernel_are_absent_or_known() {
    check(|source, wrong| {
        if source.path != "src/model/usage.rs" {
            return;
        }
        for field in plain_figures(&source.text) {
            writeln!(wrong, "{}: {field}", source.path).unwrap();
        }
    });
}

/// What the runtime is answered sets limits and commands: who may answer is who may set them.
#[test]
fn only_enforcement_answers_the_runtime() {
    // Discovery is told of containers' lives by the same protocol, and answers nothing.
    assert_listed_only_by("ephemon-nri", &["enforcement", "agent", "discovery"]);
    check(|source, wrong| {
        let may = crate_of(source).is_none_or(|name| ["enforcement", "nri"].contains(&name));
        let names = |line: &str| line.contains("Adjustment") || line.contains("nri::Decide");
        if !may && code(&source.text).any(names) {
            writeln!(wrong, "{}: names an answer to the runtime", source.path).unwrap();
        }
    });
}

#[test]
fn these_rules_see_what_is_wrong() {
    assert!(names_host("    let text = fs::read(\"/proc/1/stat\")?;"));
    assert!(names_host("    let root = Path::new(\"/sys\");"));
    assert!(!names_host("    fs::read(\"/proc/self/uid_map\")"));
    assert!(!names_host("    node.join(\"proc\").join(\"/runner\")"));
    assert!(is_unbounded("    let (a, b) = mpsc::channel();"));
    assert!(is_unbounded("    let (a, b) = mpsc::channel::<Job>();"));
    assert!(is_unbounded("    let (a, b) = mpsc::unbounded_channel();"));
    assert!(!is_unbounded("    words: mpsc::channel(WORDS), mpsc::sync_channel(1)"));
    let structs = "pub struct A {\n    pub a: u64,\n    pub b: Option<u64>,\n    pub limit: \
                   Option<u64>,\n    pub c: Vec<B>,\n}\npub struct NetUsage {\n    pub a: \
                   u64,\n}\n";
    assert_eq!(plain_figures(structs), ["A: a: u64", "A: limit: Option<u64>"]);
}

/// The crate of a file of `src` that is shipped.
fn crate_of(source: &Source) -> Option<&str> {
    let below = source.path.strip_prefix("src/")?;
    let is_test = below.ends_with("/tests.rs") || below.contains("/tests/");
    below.split('/').next().filter(|_| !is_test)
}

fn names_host(line: &str) -> bool {
    let texts = line.split('"').skip(1).step_by(2);
    let is_below = |text: &str, top: &str| {
        text.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut own = texts.filter(|text| !text.starts_with("/proc/self"));
    own.any(|text| HOST.iter().any(|top| is_below(text, top)))
}

/// A channel that is made without a number.
fn is_unbounded(line: &str) -> bool {
    let made = line.split_once("mpsc::channel").map(|(_, rest)| rest);
    let has_none =
        made.and_then(|rest| rest.split_once('(')).is_some_and(|(_, rest)| rest.starts_with(')'));
    has_none || line.contains("unbounded_channel") || line.contains("mpsc::unbounded")
}

/// Fields that cannot say that something is not known. The kernel has all figures of a network interface
/// or none of it; numbers of devices are names.
fn plain_figures(text: &str) -> Vec<String> {
    let whole = ["NetUsage"];
    let names = ["major: u32", "minor: u32"];
    let (mut found, mut of) = (Vec::new(), "");
    for line in code(text) {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            of = rest.split([' ', '<', '(']).next().unwrap_or_default();
        }
        let Some(field) = line.strip_prefix("    pub ").and_then(|it| it.strip_suffix(',')) else {
            continue;
        };
        let Some((name, kind)) = field.split_once(": ") else { continue };
        let is_number = ["u64", "u32", "i64", "f64"].contains(&kind);
        let is_sentinel =
            name.contains("limit") && !name.ends_with("hits") && !kind.contains("Limit<");
        if (is_number || is_sentinel) && !whole.contains(&of) && !names.contains(&field) {
            found.push(format!("{of}: {field}"));
        }
    }
    found
}

//! Uses of images by real and by hostile files of a runner.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn settings(root: &TempDir) -> Settings {
    let temp = root.path().join("_work/_temp");
    let temp = temp.to_str().unwrap().to_owned();
    Settings::from_env(|name| (name == "RUNNER_TEMP").then(|| temp.clone()))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn docker(image: &str, rest: &str) -> String {
    format!("runs: {{using: docker, image: 'docker://{image}'{rest}}}")
}

/// A runner with actions, and with the message of a job of these steps.
fn runner(actions: &[(&str, &str)], steps: Option<&Value>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join("_work");
    fs::create_dir_all(work.join("_actions")).unwrap();
    for (path, manifest) in actions {
        put(&work, path, manifest);
    }
    if let Some(steps) = steps {
        fs::create_dir(root.path().join("_diag")).unwrap();
        let message = json!({"steps": steps});
        let text = format!("[2026-01-01 00:00:00Z INFO Worker] Job message:\n {message:#}\n[x]\n");
        fs::write(root.path().join("_diag/Worker_20260101-000000-utc.log"), text).unwrap();
    }
    root
}

fn found(root: &TempDir) -> (Vec<(String, bool)>, bool) {
    let uses = Uses::of(&settings(root), soon());
    (uses.list.into_iter().map(|one| (one.image, one.entry_point)).collect(), uses.is_counted)
}

fn action(name: &str) -> Value {
    json!({"reference": {"name": name, "ref": "v1", "repositoryType": "GitHub"}})
}

#[test]
fn each_step_of_the_message_is_a_use_in_the_runners_order() {
    let composite = "runs: {using: composite, steps: [{run: x}, {uses: o/a@v1}, {uses: 'docker://c', with: {entrypoint: /c}}, {uses: ./x}]}";
    let actions = [
        ("o/a/v1", docker("a:1", ", entrypoint: /a")),
        ("o/b/v1", docker("b", ", pre-entrypoint: /pre, entrypoint: /b, post-entrypoint: /post")),
        ("o/own/v1", docker("own", "")),
        ("o/c/v1", composite.to_owned()),
        ("o/unused/v1", docker("unused", ", entrypoint: /a")),
        ("o/node/v1", "runs: {using: node20, main: a.js}".to_owned()),
    ];
    let actions: Vec<(&str, &str)> =
        actions.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let image = json!({"reference": {"image": "d"}});
    let steps = json!([
        {"reference": {"type": "script"}}, action("o/a"), action("o/b"), action("o/c"), image,
        action("o/own"), action("o/node"), action("o/missing"), action("o/a"),
    ]);
    let (list, is_counted) = found(&runner(&actions, Some(&steps)));
    let list: Vec<(&str, bool)> = list.iter().map(|(image, given)| (&**image, *given)).collect();
    let expected = [
        ("b", true),
        ("a:1", true),
        ("b", true),
        ("a:1", true),
        ("c", true),
        ("d", false),
        ("own", false),
        ("a:1", true),
        ("b", true),
    ];
    assert_eq!((list.as_slice(), is_counted), (&expected[..], true));
}

#[test]
fn without_a_message_the_actions_that_are_whole_are_looked_at() {
    let (one, two) = (docker("one", ", entrypoint: /a"), docker("two", ", entrypoint: /a"));
    let actions = [
        ("o/one/v1", one.as_str()),
        ("o/two/feature/x", two.as_str()),
        ("o/half/v1", "runs: {using: docker, image: 'docker://half', entrypoint: /a}"),
        ("o/one/v1/sub", "runs: {using: docker, image: 'docker://sub', entrypoint: /a}"),
    ];
    let root = runner(&actions, None);
    let at = root.path().join("_work/_actions");
    fs::write(at.join("o/one/v1.completed"), "").unwrap();
    fs::write(at.join("o/two/feature/x.completed"), "").unwrap();
    let (list, is_counted) = found(&root);
    assert_eq!(list, [("one".to_owned(), true), ("two".to_owned(), true)]);
    assert!(!is_counted);
}

#[test]
fn hostile_files_lead_nowhere_and_cost_little() {
    let root = runner(
        &[],
        Some(&json!([
            action("o/link"), action("o/pipe"), action("o/big"), action("o/../../secret"),
            action("o/loop"), action("o/bytes"),
            {"reference": {"name": "o/r", "ref": "../../../secret"}},
            {"reference": {"name": "o/r", "ref": "v1", "path": "../../../../secret"}},
            {"reference": {"image": "a b"}}, {"reference": {"image": "${{ x }}"}},
            {"reference": {"image": "x".repeat(600)}}, {"reference": {"image": ""}},
        ])),
    );
    let secret = root.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("action.yml"), docker("secret", ", entrypoint: /a")).unwrap();
    let at = |name: &str| root.path().join("_work/_actions/o").join(name);
    for name in ["link/v1", "pipe/v1", "big/v1", "loop/v1", "bytes/v1"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    symlink(secret.join("action.yml"), at("link/v1/action.yml")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let pipe = at("pipe/v1/action.yml");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, fifo, 0o600.into(), 0).unwrap();
    let big = format!("{}\n#{}", docker("big", ", entrypoint: /a"), "x".repeat(300_000));
    fs::write(at("big/v1/action.yml"), big).unwrap();
    fs::write(at("bytes/v1/action.yml"), [0xff, 0xfe, 0]).unwrap();
    let itself = "runs: {using: composite, steps: [{uses: o/loop@v1}, {uses: o/loop@v1}]}";
    fs::write(at("loop/v1/action.yml"), itself).unwrap();
    assert_eq!(found(&root), (Vec::new(), true));
}

#[test]
fn a_runner_without_actions_has_no_uses() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Uses::of(&settings(&root), soon()), Uses::default());
    assert_eq!(Uses::of(&Settings::from_env(|_| None), soon()), Uses::default());
}

#[test]
fn only_so_much_is_read_and_only_for_so_long() {
    let filler = format!("{}\n# {}", docker("a", ", entrypoint: x"), "x".repeat(250 * 1024));
    let names: Vec<String> = (0..20).map(|n| format!("o/a{n}/v1")).collect();
    let actions: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), filler.as_str())).collect();
    let steps: Vec<Value> = (0..20).map(|n| action(&format!("o/a{n}"))).collect();
    let root = runner(&actions, Some(&json!(steps)));
    assert_eq!(found(&root).0.len(), 8);
    assert_eq!(Uses::of(&settings(&root), Instant::now()).list, []);
}

#[test]
fn the_images_that_are_told_ahead_are_those_that_the_kubelet_would_pull() {
    let images = ["b:1", "a", "b:1", "a:latest", "c@sha256:0"];
    let list = images.iter().filter_map(|image| Use::new(image, true)).collect();
    let uses = Uses { list, is_counted: true };
    for policy in [None, Some("Always")] {
        assert_eq!(uses.images(policy).as_deref(), Some("b:1 a a:latest c@sha256:0"));
    }
    assert_eq!(uses.images(Some("IfNotPresent")).as_deref(), Some("b:1 c@sha256:0"));
    assert_eq!(uses.images(Some("Never")), None);
    assert_eq!(Uses::default().images(None), None);
}

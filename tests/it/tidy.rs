//! The source tree's own rules: which room may name what, and how files look.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest a source file may be; long before it, look for the second noun.
const LONGEST: usize = 400;

/// One source file.
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
}

#[test]
fn only_discovery_and_the_hook_speak_to_the_api_server() {
    let rooms = ["src/discovery", "src/hook"];
    assert_named_only_in(&["kube", "kube_client", "kube_runtime"], &rooms);
}

#[test]
fn only_the_exporters_and_the_runtime_socket_speak_grpc() {
    let exporters = ["src/otlp", "src/hook/telemetry"];
    assert_named_only_in(
        &["tonic", "tonic_prost"],
        &[exporters.as_slice(), &["src/discovery/cri"]].concat(),
    );
    let crates =
        ["", "_http", "_otlp", "_proto", "_sdk"].map(|part| format!("opentelemetry{part}"));
    let crates: Vec<&str> = crates.iter().map(String::as_str).collect();
    // The demo's collector reads for itself what the exporters wrote.
    let readers = [exporters.as_slice(), &["src/demo/sink"]].concat();
    assert_named_only_in(&[crates.as_slice(), &["tracing_opentelemetry"]].concat(), &readers);
}

/// `rustix` is allowed beside std for positioned reads on kept descriptors.
#[test]
fn the_model_and_the_kernel_formats_need_std_only() {
    let mut crates: Vec<String> = dependencies();
    crates.retain(|name| name != "rustix");
    check(|source, wrong| {
        let pure = ["src/model", "src/cgroup"].iter().any(|room| in_room(&source.path, room))
            && !source.path.ends_with("/tests.rs");
        for name in crates.iter().filter(|name| pure && names(&source.text, name)) {
            writeln!(wrong, "{}: names `{name}`", source.path).unwrap();
        }
    });
}

#[test]
fn agent_hook_init_and_demo_never_name_each_others_insides() {
    let rooms = ["agent", "hook", "init", "demo"];
    check(|source, wrong| {
        let Some(own) = rooms.iter().find(|room| in_room(&source.path, &format!("src/{room}")))
        else {
            return;
        };
        for other in rooms.iter().filter(|room| room != &own) {
            let inside = code(&source.text).any(|line| {
                line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("ephemon::{other}::"))
                    || line.contains(&format!("use crate::{other};"))
            });
            if inside {
                writeln!(wrong, "{}: names crate::{other}", source.path).unwrap();
            }
        }
    });
}

/// What is there, then what it used and what it may use, then what is shown.
#[test]
fn capture_and_enforcement_stand_side_by_side_between_discovery_and_metrics() {
    let later = [
        ("discovery", &["capture", "enforcement", "metrics", "agent"][..]),
        ("capture", &["enforcement", "metrics", "agent"]),
        ("enforcement", &["capture", "metrics", "agent"]),
    ];
    check(|source, wrong| {
        for (room, others) in later {
            for other in others.iter().filter(|_| in_room(&source.path, &format!("src/{room}"))) {
                if code(&source.text).any(|line| line.contains(&format!("crate::{other}"))) {
                    writeln!(wrong, "{}: names crate::{other}", source.path).unwrap();
                }
            }
        }
    });
}

#[test]
fn only_enforcement_sets_limits() {
    let rooms = ["src/cgroup", "src/enforcement"];
    check(|source, wrong| {
        let outside = source.path.starts_with("src/")
            && !rooms.iter().any(|room| in_room(&source.path, room));
        if outside && code(&source.text).any(|line| line.contains("LimitFiles")) {
            writeln!(wrong, "{}: names LimitFiles", source.path).unwrap();
        }
    });
}

#[test]
fn every_file_says_first_what_it_owns() {
    check(|source, wrong| {
        if !source.text.starts_with("//! ") {
            writeln!(wrong, "{}: does not start with `//!`", source.path).unwrap();
        }
    });
}

#[test]
fn no_file_is_named_mod_or_is_too_long() {
    check(|source, wrong| {
        if source.path.ends_with("/mod.rs") {
            writeln!(wrong, "{}: name it after its noun", source.path).unwrap();
        }
        let lines = source.text.lines().count();
        if lines > LONGEST {
            writeln!(wrong, "{}: {lines} lines, more than {LONGEST}", source.path).unwrap();
        }
    });
}

#[test]
fn the_code_map_names_every_room() {
    let lib = fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let map: String = lib.lines().filter(|line| line.starts_with("//!")).collect();
    let rooms = lib.lines().filter_map(|line| {
        let declared = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        declared?.strip_suffix(';')
    });
    let missing: Vec<&str> = rooms.filter(|room| !has_word(&map, room)).collect();
    assert!(missing.is_empty(), "src/lib.rs does not say what lives in {missing:?}");
}

/// By its own name or by that of a directory above it: trees are read whole.
#[test]
fn every_fixture_and_golden_file_is_read_by_some_test() {
    let sources = sources();
    let named = |name: &str| sources.iter().any(|source| source.text.contains(name));
    let mut wrong = String::new();
    for home in ["tests/it/fixtures", "tests/it/golden"].map(|home| package().join(home)) {
        for file in files(&home) {
            let below = file.strip_prefix(&home).unwrap();
            if !below.iter().any(|name| named(&name.to_string_lossy())) {
                writeln!(wrong, "{}: nobody reads it", file.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn assert_named_only_in(crates: &[&str], rooms: &[&str]) {
    check(|source, wrong| {
        if !source.path.starts_with("src/") || rooms.iter().any(|room| in_room(&source.path, room))
        {
            return;
        }
        for name in crates.iter().filter(|name| names(&source.text, name)) {
            writeln!(wrong, "{}: names `{name}`", source.path).unwrap();
        }
    });
}

/// Looks at every source file.
///
/// # Panics
/// With all that `rule` wrote down.
fn check(rule: impl Fn(&Source, &mut String)) {
    let mut wrong = String::new();
    let sources = sources();
    assert!(!sources.is_empty(), "there must be sources to look at");
    for source in &sources {
        rule(source, &mut wrong);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let all = ["src", "tests"].into_iter().flat_map(|top| files(&package().join(top)));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source {
            path: path.strip_prefix(package()).unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Whether the file is `room.rs` or below `room/`; a room may be the beginning of a name, as
/// `src/discovery/cri` is of `cri.rs` and `cri/`.
fn in_room(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.starts_with(['/', '.']))
}

/// The names that code calls the dependencies by.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let (_, after) = manifest.split_once("\n[dependencies]\n").unwrap();
    let section = after.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

/// Whether code, not a comment, names a crate: by a path or by `use`.
fn names(text: &str, name: &str) -> bool {
    code(text).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default();
            let after = line.get(at + name.len()..).unwrap_or_default();
            let own_word =
                !before.ends_with(|last: char| last.is_alphanumeric() || "_:.".contains(last));
            let whole = !after.starts_with(|next: char| next.is_alphanumeric() || next == '_');
            own_word && whole && (after.starts_with("::") || before.trim_end().ends_with("use"))
        })
    })
}

/// The lines that are shipped: neither comments nor the tests at the file's foot.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|one| one == word)
}

#[test]
fn a_crate_is_named_by_paths_and_uses_only() {
    assert!(names("use kube::Api;", "kube") && names("    let a = kube::Api;", "kube"));
    assert!(names("pub use kube;", "kube") && !names("// kube::Api", "kube"));
    assert!(!names("use crate::kube::Api;", "kube") && !names("let kubelet::X = 1;", "kube"));
}

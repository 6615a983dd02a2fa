//! The source tree's own rules, as far as Cargo does not keep them: which rooms may list what, and how
//! files look.

mod cycles;
mod documents;
mod invariants;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::parts;

/// The longest a source file may be; long before it, look for the second noun.
const LONGEST: usize = 400;

/// One source file.
struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

/// A room and what its manifest lists.
struct Room {
    name: String,
    /// As Cargo has them, with `-`; what only its tests use is not among them.
    dependencies: Vec<String>,
}

#[test]
fn only_discovery_the_hook_and_the_client_speak_to_the_api_server() {
    assert_listed_only_by("kube", &["kube-config", "discovery", "hook", "client"]);
}

#[test]
fn only_the_exporters_and_the_runtime_socket_speak_grpc() {
    assert_listed_only_by("tonic", &["discovery", "otel", "export"]);
    // The demo's collector reads for itself what the exporters wrote.
    for name in ["", "-http", "-otlp", "-proto", "_sdk"].map(|part| format!("opentelemetry{part}"))
    {
        assert_listed_only_by(&name, &["otel", "export", "otlp", "hook", "demo"]);
    }
    assert_listed_only_by("tracing-opentelemetry", &["otlp", "hook"]);
}

/// TLS and proxies on the way to a collector are set up once, for agent and hook; the agent's own port
/// is the only other that speaks TLS.
#[test]
fn connections_to_collectors_are_made_in_one_room() {
    assert_listed_only_by("hyper-rustls", &["otel"]);
    assert_listed_only_by("rustls", &["otel", "agent"]);
}

/// The variables are read once, too, but for the names in sentences.
#[test]
fn only_one_room_reads_the_variables_of_opentelemetry() {
    check(|source, wrong| {
        let is_elsewhere = source.path.starts_with("src/") && !in_room(&source.path, "src/otel");
        let reads = |line: &str| {
            ["var(\"", "var_os(\"", "get(\"", "lookup(\""].iter().any(|read| {
                line.contains(&format!("{read}OTEL_"))
                    || line.contains(&format!("{read}HTTP_PROXY"))
            })
        };
        if is_elsewhere && code(&source.text).any(reads) {
            writeln!(wrong, "{}: reads a variable of OpenTelemetry's", source.path).unwrap();
        }
    });
}

/// `rustix` and `procfs` are allowed beside std for reads that std does not have.
#[test]
fn the_helpers_the_model_and_the_kernel_formats_need_std_only() {
    for room in rooms().iter().filter(|room| ["base", "model", "cgroup"].contains(&&*room.name)) {
        let allowed = ["ephemon-model", "rustix", "procfs", "thiserror"];
        let other = room.dependencies.iter().find(|name| !allowed.contains(&&***name));
        assert_eq!(other, None, "of src/{}", room.name);
    }
}

#[test]
fn the_programs_do_not_depend_on_each_other() {
    let programs = ["agent", "init", "hook", "demo"].map(|name| format!("ephemon-{name}"));
    for room in rooms() {
        let other = room.dependencies.iter().find(|name| programs.contains(name));
        assert_eq!(other, None, "of src/{}", room.name);
    }
}

/// What the hook launches in every container of a job has no runtime, no TLS and no API client.
#[test]
fn init_is_small() {
    let init = rooms().into_iter().find(|room| room.name == "init").unwrap();
    for heavy in ["tokio", "hyper", "kube", "rustls", "tracing", "clap"] {
        assert!(!init.dependencies.iter().any(|name| name == heavy), "{heavy}");
    }
}

/// What people run against a cluster is apart from what runs on a node: it knows an agent by its API
/// alone, and the page's own files.
#[test]
fn the_commands_for_a_cluster_know_agents_by_their_api() {
    let rooms = rooms();
    let listed = |name: &str| {
        let room = rooms.iter().find(|room| room.name == name).unwrap();
        let own = room.dependencies.iter().filter(|name| name.starts_with("ephemon-"));
        own.map(String::as_str).collect::<Vec<_>>()
    };
    assert_eq!(listed("client"), ["ephemon-base", "ephemon-kube-config"]);
    assert_eq!(listed("kubectl"), ["ephemon-base", "ephemon-client", "ephemon-page"]);
}

/// What is there, then what it used and what it may use, then what is shown.
#[test]
fn capture_and_enforcement_stand_side_by_side_between_discovery_and_metrics() {
    let later = [
        ("discovery", &["capture", "enforcement", "catalogue", "metrics"][..]),
        ("capture", &["enforcement", "catalogue", "metrics"]),
        ("enforcement", &["capture", "catalogue", "metrics"]),
        // One table for two writers that do not know each other.
        ("catalogue", &["otlp", "metrics"]),
        ("otlp", &["metrics"]),
        ("metrics", &["otlp"]),
    ];
    let rooms = rooms();
    for (name, others) in later {
        let room = rooms.iter().find(|room| room.name == name).unwrap();
        for other in others {
            let other = format!("ephemon-{other}");
            assert!(!room.dependencies.contains(&other), "src/{name} lists {other}");
        }
    }
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
fn the_code_map_names_every_room_and_what_it_depends_on() {
    let map = fs::read_to_string(repository().join("src/README.md")).unwrap();
    // Nearly every crate uses these; the map says so once.
    let common = ["ephemon-base", "ephemon-model", "ephemon-self-metrics"];
    let mut wrong = String::new();
    for room in rooms() {
        let Some(row) = map.lines().find(|line| line.starts_with(&format!("| `{}` |", room.name)))
        else {
            writeln!(wrong, "{}: has no row", room.name).unwrap();
            continue;
        };
        let said = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        if said.starts_with("all above") {
            continue;
        }
        let own = room.dependencies.iter().filter_map(|name| {
            (!common.contains(&&**name)).then(|| name.strip_prefix("ephemon-")).flatten()
        });
        let missing: Vec<&str> =
            own.clone().filter(|name| !said.contains(&format!("`{name}`"))).collect();
        let named = said.split('`').skip(1).step_by(2);
        let extra: Vec<&str> = named
            .filter(|name| !own.clone().any(|own| own == *name))
            .filter(|name| !common.contains(&&*format!("ephemon-{name}")))
            .collect();
        if !missing.is_empty() || !extra.is_empty() {
            writeln!(wrong, "{}: does not say {missing:?}, says {extra:?}", room.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "src/README.md:\n{wrong}");
}

/// By its own name or by that of a directory above it: trees are read whole.
#[test]
fn every_fixture_and_golden_file_is_read_by_some_test() {
    let sources = sources();
    let named = |name: &str| sources.iter().any(|source| source.text.contains(name));
    let mut wrong = String::new();
    for home in ["tests/it/fixtures", "tests/it/golden"].map(|home| repository().join(home)) {
        for file in files(&home) {
            let below = file.strip_prefix(&home).unwrap();
            if !below.iter().any(|name| named(&name.to_string_lossy())) {
                writeln!(wrong, "{}: nobody reads it", file.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn assert_listed_only_by(name: &str, allowed: &[&str]) {
    let found: Vec<Room> = rooms()
        .into_iter()
        .filter(|room| room.dependencies.iter().any(|listed| listed == name))
        .collect();
    assert!(!found.is_empty(), "no room lists {name}");
    let other = found.iter().map(|room| &*room.name).find(|room| !allowed.contains(room));
    assert_eq!(other, None, "lists {name}");
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

fn repository() -> &'static Path {
    parts::repository()
}

fn sources() -> Vec<Source> {
    let all = ["src", "tests"].into_iter().flat_map(|top| files(&repository().join(top)));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source {
            path: path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned(),
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

/// Every directory of `src` with a manifest.
fn rooms() -> Vec<Room> {
    let mut rooms = Vec::new();
    for entry in fs::read_dir(repository().join("src")).unwrap() {
        let directory = entry.unwrap().path();
        let Ok(manifest) = fs::read_to_string(directory.join("Cargo.toml")) else { continue };
        let (_, after) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
        let section = after.split("\n[").next().unwrap_or_default();
        let names = section.lines().filter_map(|line| line.split_once(['.', ' ']));
        let dependencies = names.map(|(name, _)| name.to_owned()).collect();
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        rooms.push(Room { name, dependencies });
    }
    assert!(rooms.len() > 10, "there must be rooms to look at");
    rooms
}

/// The lines that are shipped: neither comments nor the tests at the file's foot.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

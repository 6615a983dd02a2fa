//! The programs that the tests run, built with the tests: as Cargo links them, and those of the
//! `ephemon` volume statically, too, as they are shipped: most images have no library that they
//! could use. With `EPHEMON_PROGRAMS=FOLDER` they are those that `deploy/programs FOLDER` has built:
//! a benchmark measures what is shipped then, by whatever profile it was built itself.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde_json::Value;

use super::parts;
use super::process::output;

/// The shared volume's `bin/`.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `ephemon-init`.
    pub(crate) init: PathBuf,
    /// `ephemon-hook`.
    pub(crate) hook: PathBuf,
}

/// What Cargo says it has built, or found built.
struct Build {
    /// The crates' libraries and the programs, by their names in Cargo.
    libraries: BTreeMap<String, PathBuf>,
    programs: BTreeMap<String, PathBuf>,
    /// `deps` of the build directory, this test binary among them.
    dependencies: PathBuf,
}

/// `ephemon`, as Cargo links it.
pub(crate) fn ephemon() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| linked("ephemon"))
}

/// `ephemon-demo`, which is the embedded node's helper, too.
pub(crate) fn demo() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| linked("ephemon-demo"))
}

/// `ephemon-hook`, as Cargo links it.
pub(crate) fn hook() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| linked("ephemon-hook"))
}

/// `ephemon-init`, as Cargo links it.
pub(crate) fn init() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| linked("ephemon-init"))
}

/// Links them, once; what lies in `static` is linked anew only after a change.
///
/// Only the last step differs from Cargo's: every library is the one that the tests are linked
/// with, so that nothing is compiled a second time.
pub(crate) fn built() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let [Some(init), Some(hook)] = ["ephemon-init", "ephemon-hook"].map(shipped) {
            return Programs { init, hook };
        }
        let directory = links().join("static");
        let at = |name: &str| directory.join(name);
        // A virtual machine has the host's files, and the host has built them.
        if !parts::in_vm() {
            fs::create_dir_all(&directory).unwrap();
            for room in ["init", "hook"] {
                Build::of_this_test().link(room, &at(&format!("ephemon-{room}")));
            }
        }
        Programs { init: at("ephemon-init"), hook: at("ephemon-hook") }
    })
}

/// Where links to the programs lie, for tests in a virtual machine: it has no Cargo.
fn links() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs").join(profile())
}

/// The profile to build by, as this program was: Cargo names the directory after it. What is optimised
/// is a benchmark.
fn profile() -> String {
    let own = env::current_exe().unwrap();
    let directory = own.ancestors().nth(2).and_then(Path::file_name).unwrap();
    let name = match directory.to_str().unwrap() {
        "debug" => "dev",
        "release" => "bench",
        other => other,
    };
    name.to_owned()
}

/// The program of that name that was built to be shipped, where such are to be run.
fn shipped(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("EPHEMON_PROGRAMS")?;
    // The demo and what else is not shipped is none of its files.
    fs::canonicalize(folder).unwrap().join(name).canonicalize().ok()
}

fn linked(name: &str) -> PathBuf {
    if let Some(program) = shipped(name) {
        return program;
    }
    if parts::in_vm() {
        return fs::read_link(links().join(name)).unwrap();
    }
    let program = Build::of_this_test().programs.get(name);
    program.expect("Cargo must name the program").clone()
}

/// Makes sure that a virtual machine finds them all.
pub(crate) fn for_a_machine() {
    fs::create_dir_all(links()).unwrap();
    for (name, program) in &Build::of_this_test().programs {
        let link = links().join(name);
        let partial = link.with_extension(std::process::id().to_string());
        symlink(program, &partial).unwrap();
        fs::rename(&partial, &link).unwrap();
    }
    built();
}

// === impl Build ===

impl Build {
    /// Built with all that this test was built with, so that no dependency is compiled again. Where
    /// everything is built, Cargo only names it.
    fn of_this_test() -> &'static Self {
        static BUILD: OnceLock<Build> = OnceLock::new();
        BUILD.get_or_init(|| {
            let test = env::current_exe().unwrap();
            let dependencies = test.parent().unwrap().to_owned();
            let mut directory = dependencies.ancestors().nth(2).unwrap();
            // Of a build with `--target` there is a directory more, which has its name.
            let target = directory.file_name().and_then(|name| name.to_str());
            let target = target.filter(|name| name.contains("-linux-")).map(str::to_owned);
            if target.is_some() {
                directory = directory.parent().unwrap();
            }
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            // What Cargo tells a test, and what CI sets for one: some build scripts look at it, and
            // all that depends on them would be built again.
            let told = |name: &str| {
                let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
                prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "RUSTC_BOOTSTRAP"
            };
            for (name, _) in env::vars_os() {
                if name.to_str().is_some_and(told) {
                    cargo.env_remove(name);
                }
            }
            // A target that may use what only tests depend on: without one, features differ.
            let beside =
                if cfg!(debug_assertions) { ["--test", "it"] } else { ["--bench", "scrape"] };
            cargo
                .current_dir(parts::repository())
                .args(["build", "--quiet", "--locked", "--workspace", "--bins"])
                .args(beside)
                .args(target.iter().flat_map(|target| ["--target", target]))
                .args(["--message-format=json", "--profile", &profile()])
                .arg("--config")
                .arg(format!("build.build-dir={:?}", directory.display().to_string()));
            Self::read(&output(&mut cargo), dependencies)
        })
    }

    fn read(messages: &str, dependencies: PathBuf) -> Self {
        let (mut libraries, mut programs) = (BTreeMap::new(), BTreeMap::new());
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for message in messages.filter(|message| message["reason"] == "compiler-artifact") {
            let target = &message["target"];
            let Some(name) = target["name"].as_str() else { continue };
            let files = message["filenames"].as_array().into_iter().flatten();
            let library = files
                .filter_map(Value::as_str)
                .find(|file| Path::new(file).extension().is_some_and(|it| it == "rlib"));
            if target["kind"][0] == "bin" {
                let program = message["executable"].as_str().expect("a program has a file");
                programs.insert(name.to_owned(), program.into());
            } else if let (Some(library), "lib") =
                (library, target["kind"][0].as_str().unwrap_or_default())
            {
                libraries.insert(name.to_owned(), library.into());
            }
        }
        Self { libraries, programs, dependencies }
    }

    fn link(&self, room: &str, built: &Path) {
        let library = &self.libraries[&format!("ephemon_{room}")];
        let source = parts::repository().join("src").join(room).join("main.rs");
        if [library, &source].iter().all(|of| changed(of) < changed(built)) {
            return;
        }
        let partial = built.with_extension(std::process::id().to_string());
        output(
            Command::new("rustc")
                .args(["--edition=2024", "--crate-type=bin", "--crate-name"])
                .arg(format!("ephemon_{room}_program"))
                // A debugger's tables are nine tenths of a file that each container maps.
                .args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols", "--extern"])
                .arg(format!("ephemon_{room}={}", library.display()))
                .arg("-L")
                .arg(format!("dependency={}", self.dependencies.display()))
                .arg("-o")
                .arg(&partial)
                .arg(source),
        );
        fs::rename(&partial, built).unwrap();
    }
}

/// When a file was written; long ago if it is not there.
fn changed(file: &Path) -> SystemTime {
    let changed = fs::metadata(file).and_then(|file| file.modified());
    changed.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Also what CI builds them by, before any scenario waits for them.
#[test]
fn both_need_no_library() {
    let programs = built();
    for program in [&programs.init, &programs.hook] {
        let bytes = fs::read(program).unwrap();
        let loader = bytes.windows(8).any(|window| window == b"/ld-linu");
        assert!(!loader, "{} names a dynamic loader", program.display());
    }
}

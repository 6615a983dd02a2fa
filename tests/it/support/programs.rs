//! The programs of the `ephemon` volume, linked statically as they are shipped: most images have no
//! library that they could use.

use std::env;
use std::fs;
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

/// Where Cargo has put what this test binary is made of.
struct Build {
    /// `target/debug`: the programs as Cargo links them.
    finished: PathBuf,
    /// `deps` of the build directory, this test binary among them.
    dependencies: PathBuf,
}

/// Links them, once; what lies in `static` beside Cargo's own programs is linked anew only after a
/// change.
///
/// Only the last step differs from Cargo's: every library is the one that the tests are linked
/// with, so that nothing is compiled a second time.
pub(crate) fn built() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| {
        let build = Build::of_this_test();
        let directory = build.finished.join("static");
        let at = |name: &str| directory.join(name);
        // A virtual machine has the host's files, and the host has built them.
        if !parts::in_vm() {
            fs::create_dir_all(&directory).unwrap();
            let library = build.library();
            for name in ["ephemon-init", "ephemon-hook"] {
                build.link(name, &library, &at(name));
            }
        }
        Programs { init: at("ephemon-init"), hook: at("ephemon-hook") }
    })
}

// === impl Build ===

impl Build {
    fn of_this_test() -> Self {
        let test = env::current_exe().unwrap();
        let finished = Path::new(env!("CARGO_BIN_EXE_ephemon-init")).parent().unwrap();
        Self { finished: finished.to_owned(), dependencies: test.parent().unwrap().to_owned() }
    }

    /// The library `ephemon` as this test has it. Cargo alone knows its file's name, and says it
    /// without building anything, for it has just built this test.
    fn library(&self) -> PathBuf {
        let build = self.dependencies.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // What Cargo tells a test, and what CI sets for one: some build scripts look at it, and all
        // that depends on them would be built again.
        let told = |name: &str| {
            let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
            prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "RUSTC_BOOTSTRAP"
        };
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(told) {
                cargo.env_remove(name);
            }
        }
        let messages = output(
            cargo
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .args(["build", "--quiet", "--locked", "--test", "it", "--message-format=json"])
                .args((!cfg!(debug_assertions)).then_some("--release"))
                .arg("--target-dir")
                .arg(self.finished.parent().unwrap())
                .arg("--config")
                .arg(format!("build.build-dir={:?}", build.display().to_string())),
        );
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_library = |message: &Value| {
            message["reason"] == "compiler-artifact"
                && message["target"]["name"] == env!("CARGO_PKG_NAME")
                && message["target"]["kind"][0] == "lib"
        };
        let message = messages.into_iter().find(is_library).expect("Cargo must name the library");
        let files = message["filenames"].as_array().unwrap();
        let file = files
            .iter()
            .filter_map(Value::as_str)
            .find(|name| Path::new(name).extension().is_some_and(|it| it == "rlib"));
        PathBuf::from(file.expect("the library has an rlib"))
    }

    fn link(&self, name: &str, library: &Path, built: &Path) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin").join(name);
        let source = source.with_extension("rs");
        if [library, &source].iter().all(|of| changed(of) < changed(built)) {
            return;
        }
        let partial = built.with_extension(std::process::id().to_string());
        output(
            Command::new("rustc")
                .args(["--edition=2024", "--crate-type=bin", "--crate-name"])
                .arg(name.replace('-', "_"))
                // A debugger's tables are nine tenths of a file that each container maps.
                .args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols", "--extern"])
                .arg(format!("ephemon={}", library.display()))
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

//! The programs of the `ephemon` volume, linked statically as they are shipped: most images have no
//! library that they could use.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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

/// Builds them with Cargo, once; what is kept in `target/static` is built anew only after a change.
/// A target directory of its own: Cargo holds a lock on the one that runs this test.
pub(crate) fn built() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/static");
        // Named, so that the flags are for the programs and not for what runs while they are built.
        let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        // A virtual machine has the host's files, and the host has built them.
        if !parts::in_vm() {
            build(&directory, &target);
        }
        let at = |name: &str| directory.join(&target).join("debug").join(name);
        Programs { init: at("ephemon-init"), hook: at("ephemon-hook") }
    })
}

fn build(directory: &Path, target: &str) {
    output(
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--locked", "--target", target, "--target-dir"])
            .arg(directory)
            .args(["--bin", "ephemon-init", "--bin", "ephemon-hook"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            // A debugger's tables are nine tenths of a file that each container maps.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    );
}

/// Also what CI builds them by, before any scenario waits for them.
#[test]
fn both_need_no_library() {
    let programs = built();
    for program in [&programs.init, &programs.hook] {
        let bytes = std::fs::read(program).unwrap();
        let loader = bytes.windows(8).any(|window| window == b"/ld-linu");
        assert!(!loader, "{} names a dynamic loader", program.display());
    }
}

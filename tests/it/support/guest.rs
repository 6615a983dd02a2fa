//! The program that runs inside the test containers, built once by plain rustc.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::process::output;

/// The static program of `guest/load.rs`.
///
/// It is kept in Cargo's directory for tests, named after the source's length and time, so that a
/// machine which shares the host's files finds it built.
pub(crate) fn load() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/it/guest/load.rs");
    let source_file = fs::metadata(source).unwrap();
    let stamp = format!("{}-{}", source_file.len(), source_file.mtime());
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("load-{stamp}"));
    if built.exists() {
        return built;
    }
    let partial = built.with_extension(std::process::id().to_string());
    output(
        Command::new("rustc")
            .args(["--edition=2024", "-O", "-Cpanic=abort", "-Cstrip=symbols"])
            .args(["-Ctarget-feature=+crt-static", "-o"])
            .arg(&partial)
            .arg(source),
    );
    fs::rename(&partial, &built).unwrap();
    built
}

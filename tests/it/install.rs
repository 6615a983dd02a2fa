//! `ephemon install` as the runner's pod calls it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::programs;

/// Installs into a fresh tmpfs with these mount options; none where nothing can be mounted.
fn into_tmpfs(options: &str) -> Option<Output> {
    let able = Command::new("unshare").args(["-m", "true"]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to make mount namespaces");
        eprintln!("skipped: no mount namespace can be made here");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && exec \"$3\" install \"$2\"";
    let mut process = Command::new("unshare");
    process
        .args(["-m", "sh", "-c", script, "sh", options])
        .arg(directory.path())
        .arg(programs::ephemon());
    Some(process.output().unwrap())
}

#[test]
fn the_programs_run_from_where_they_were_put() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // No environment at all, as in an image of nothing.
        let output = Command::new(programs::ephemon())
            .env_clear()
            .arg("install")
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let at = |name: &str| directory.path().join(name);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&at("run")), mode(&at("journal"))), (0o1777, 0o1777));
    let volume = directory.path().to_owned();
    let output = Command::new("sh")
        .arg("-e")
        .arg(at("bin/hook.sh"))
        .arg("--version")
        .env("EPHEMON_VOLUME", volume)
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ephemon-hook "));
}

#[test]
fn a_volume_that_does_not_take_it_is_named_with_advice() {
    for (options, advice) in [("ro", "as writable"), ("size=64k", "sizeLimit")] {
        let Some(output) = into_tmpfs(options) else { return };
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(advice), "{options}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

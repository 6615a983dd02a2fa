//! Container images made on the spot, without a registry: a shell, the load program, a sandbox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guest;
use super::parts;
use super::process::output;

/// The image the tests' containers run: busybox's shell and `/bin/load`.
pub(crate) const WORK: &str = "ephemon.test/work:1";

/// The image of pod sandboxes: `/pause`, so that its process is called `pause` as on a node.
pub(crate) const PAUSE: &str = "ephemon.test/pause:1";

/// Writes both images into one archive that `ctr images import` reads.
pub(crate) fn archive(scratch: &Path) -> PathBuf {
    let work = scratch.join("work");
    fs::create_dir_all(work.join("bin")).unwrap();
    fs::create_dir_all(work.join("tmp")).unwrap();
    let busybox = parts::program("busybox").expect("busybox-static must be installed");
    fs::copy(busybox, work.join("bin/busybox")).unwrap();
    for name in ["sh", "true", "cat", "sleep", "echo"] {
        symlink("busybox", work.join("bin").join(name)).unwrap();
    }
    fs::copy(guest::load(), work.join("bin/load")).unwrap();
    let pause = scratch.join("pause");
    fs::create_dir_all(&pause).unwrap();
    fs::copy(guest::load(), pause.join("pause")).unwrap();

    let layout = scratch.join("layout");
    fs::create_dir_all(&layout).unwrap();
    let manifest =
        [image(&layout, &work, WORK, "/bin/sh"), image(&layout, &pause, PAUSE, "/pause")];
    fs::write(layout.join("manifest.json"), serde_json::json!(manifest).to_string()).unwrap();
    let archive = scratch.join("images.tar");
    pack(&layout, &archive);
    archive
}

/// One image of one layer, in the layout of `docker save`; returns its entry in the manifest.
fn image(layout: &Path, files: &Path, name: &str, entrypoint: &str) -> serde_json::Value {
    let stem = files.file_name().unwrap().to_string_lossy();
    let layer = layout.join(format!("{stem}.tar"));
    pack(files, &layer);
    let sum = output(Command::new("sha256sum").arg(&layer));
    let digest = sum.split_whitespace().next().unwrap();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": [entrypoint], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    fs::write(layout.join(format!("{stem}.json")), config.to_string()).unwrap();
    serde_json::json!({
        "Config": format!("{stem}.json"),
        "RepoTags": [name],
        "Layers": [format!("{stem}.tar")],
    })
}

fn pack(directory: &Path, archive: &Path) {
    output(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "-C"])
            .arg(directory)
            .arg("-cf")
            .arg(archive)
            .arg("."),
    );
}

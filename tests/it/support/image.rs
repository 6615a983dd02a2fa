//! Container images made on the spot, without a registry: a shell, the load program, a sandbox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::guest;
use super::parts;
use super::process::output;

/// The image the tests' containers run: busybox's shell and `/bin/load`.
pub(crate) const WORK: &str = "ephemon.test/work:1";

/// The image of pod sandboxes: `/pause`, so that its process is called `pause` as on a node.
pub(crate) const PAUSE: &str = "ephemon.test/pause:1";

/// An image of one layer.
#[derive(Debug)]
pub(crate) struct Image {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its files; the directory's own name is unique in an archive.
    pub(crate) files: PathBuf,
    /// `config` of the image's configuration: `Entrypoint`, `Cmd`, `Env`, `User`, `WorkingDir`.
    pub(crate) config: Value,
}

/// Writes the two images that every node has into one archive.
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

    let started_by = |program: &str| json!({ "Entrypoint": [program], "Env": ["PATH=/bin"] });
    let images = [
        Image { name: WORK, files: work, config: started_by("/bin/sh") },
        Image { name: PAUSE, files: pause, config: started_by("/pause") },
    ];
    pack_all(scratch, &images)
}

/// Writes images into one archive that `ctr images import` reads, in the layout of `docker save`.
pub(crate) fn pack_all(scratch: &Path, images: &[Image]) -> PathBuf {
    let layout = scratch.join("layout");
    fs::create_dir_all(&layout).unwrap();
    let manifest: Vec<Value> = images.iter().map(|image| image.write(&layout)).collect();
    fs::write(layout.join("manifest.json"), json!(manifest).to_string()).unwrap();
    let archive = scratch.join("images.tar");
    pack(&layout, &archive);
    archive
}

// === impl Image ===

impl Image {
    /// Writes layer and configuration; returns its entry in the manifest.
    pub(crate) fn write(&self, layout: &Path) -> Value {
        let stem = self.files.file_name().unwrap().to_string_lossy();
        let layer = layout.join(format!("{stem}.tar"));
        pack(&self.files, &layer);
        let sum = output(Command::new("sha256sum").arg(&layer));
        let digest = sum.split_whitespace().next().unwrap();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        fs::write(layout.join(format!("{stem}.json")), config.to_string()).unwrap();
        json!({
            "Config": format!("{stem}.json"),
            "RepoTags": [self.name],
            "Layers": [format!("{stem}.tar")],
        })
    }
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

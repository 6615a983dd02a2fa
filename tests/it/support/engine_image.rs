//! An image of container engines: Docker, podman and what they need, as this machine's packages have
//! them. The programs themselves come by a volume of the machine's `/usr`: they and their libraries
//! are a gigabyte.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::image::{Image, pack_all};
use super::parts::Part;
use super::workflow_images::busybox;

/// The image of engines, and of runners that call them. Needs [`USR`] at `/usr`.
pub(crate) const ENGINES: &str = "ephemon.test/engines:1";
/// The directory of the machine that its containers must mount.
pub(crate) const USR: &str = "/usr";
/// What the engines' containers run; [`NESTED_ARCHIVE`] has it.
pub(crate) const NESTED: &str = "docker.io/library/nested:1";
/// Where in the image of engines the archive of [`NESTED`] is.
pub(crate) const NESTED_ARCHIVE: &str = "/nested.tar";

/// As the script of Docker's image does: what a killed daemon left keeps the next one from starting.
/// The packet filter is not needed here, and not every machine has one.
const ENTRYPOINT: &str = "#!/bin/sh\n\
    if [ \"$1\" = dockerd ]; then\n\
    find /run /var/run -iname 'docker*.pid' -delete\n\
    set -- \"$@\" --iptables=false --ip6tables=false\nfi\nexec \"$@\"\n";

/// No systemd, no journal, no packet filter.
const CONTAINERS_CONF: &str = "[containers]\nnetns = \"none\"\nlog_driver = \"k8s-file\"\n\
    [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";
const STORAGE_CONF: &str = "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\n\
    graphroot = \"/var/lib/containers/storage\"\n";

/// What the machine must have for it.
pub(crate) fn needs() -> Vec<Part> {
    let programs = ["busybox", "containerd", "conmon", "docker", "dockerd", "podman", "runc"];
    programs.map(Part::Program).to_vec()
}

/// Writes [`NESTED`] into an archive.
fn nested_archive(scratch: &Path) -> PathBuf {
    let files = busybox(&scratch.join("files"));
    let config = json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]});
    pack_all(scratch, &[Image { name: NESTED, files, config }])
}

/// Writes [`ENGINES`] into an archive.
pub(crate) fn archive(scratch: &Path) -> PathBuf {
    let nested = scratch.join("nested");
    fs::create_dir(&nested).unwrap();
    let nested = nested_archive(&nested);
    let root = scratch.join("engines");
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for directory in ["home/runner/externals", "root", "run", "usr", "var/lib", "var/tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for directory in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{directory}"), root.join(directory)).unwrap();
    }
    symlink("/run", root.join("var/run")).unwrap();
    // The group that ARC's chart gives Docker's socket, with the user of GitHub's image in it.
    write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nrunner:x:1001:1001::/home/runner:/bin/sh\n",
    );
    write("etc/group", "root:x:0:\ndocker:x:123:runner\nrunner:x:1001:\n");
    write("etc/containers/containers.conf", CONTAINERS_CONF);
    write("etc/containers/storage.conf", STORAGE_CONF);
    write("etc/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
    write("etc/containers/registries.conf", "unqualified-search-registries = []\n");
    for (name, text) in [
        ("entrypoint.sh", ENTRYPOINT),
        (
            "home/runner/run.sh",
            "#!/bin/sh\ntrap exit TERM INT\nwhile :; do sleep 1000 & wait; done\n",
        ),
    ] {
        write(name, text);
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy(nested, root.join(NESTED_ARCHIVE.trim_start_matches('/'))).unwrap();
    // As the images of both engines have them: no file system in layers below another.
    let volumes = json!({"/var/lib/docker": {}, "/var/lib/containers": {}});
    let config = json!({
        "Entrypoint": ["/entrypoint.sh"], "Volumes": volumes,
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    });
    pack_all(scratch, &[Image { name: ENGINES, files: root, config }])
}

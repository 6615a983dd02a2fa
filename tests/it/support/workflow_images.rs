//! Images as workflows use them, made of this machine's own files: a small distribution, Alpine,
//! glibc, no shell at all, one with an entrypoint of its own, one for another processor; and those
//! of a runner and of ephemon itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::image::{Image, pack_all};
use super::process::output;
use super::{parts, programs};

/// Busybox, with users root and node (1000).
pub(crate) const BUSYBOX: &str = "ephemon.test/busybox:1";
/// The same, and says that it is Alpine.
pub(crate) const ALPINE: &str = "ephemon.test/alpine:3";
/// Bash and dash with the dynamic loader and libraries of this machine.
pub(crate) const GLIBC: &str = "ephemon.test/glibc:1";
/// One static program, `/app/busybox`, and nothing else: no shell, no users, no `/tmp`.
pub(crate) const BARE: &str = "ephemon.test/bare:1";
/// Busybox, but with an entrypoint, arguments, variables, user and directory of its own.
pub(crate) const TOOL: &str = "ephemon.test/tool:1";
/// In the place of a database, by whose name it is known: shows the port that `PGPORT` tells it, and
/// listens there.
pub(crate) const POSTGRES: &str = "docker.io/library/postgres:0-for-tests";
/// Its programs are for another processor.
pub(crate) const ALIEN: &str = "ephemon.test/alien:1";

/// A runner: its user, 1001, its externals, its certificates, and a `run.sh` that only waits.
pub(crate) const RUNNER: &str = "ephemon.test/runner:1";
/// The same with this machine's Node.js as the runner's own.
pub(crate) const NODE_RUNNER: &str = "ephemon.test/node-runner:1";
/// The runner's own Node.js.
pub(crate) const RUNNERS_NODE: &str = "/home/runner/externals/node20/bin/node";
/// The three programs, as `deploy/Dockerfile` places them.
pub(crate) const EPHEMON: &str = "ephemon.test/ephemon:1";

/// What `TOOL` runs: says who and where it is, and ends with its first argument.
const ENTRYPOINT: &str = "#!/bin/sh\n\
    echo \"tool: $TOOL, $* as $(id -u) in $(pwd)\"\necho to stderr >&2\nexit \"$1\"\n";

/// Writes all of them into one archive.
pub(crate) fn archive(scratch: &Path) -> PathBuf {
    let path = "PATH=/usr/local/bin:/bin";
    let image = |name, files, config| Image { name, files, config };
    let plain = || json!({"Env": [path], "Cmd": ["sh"]});
    let tool = json!({
        "Entrypoint": ["/entry.sh"], "Cmd": ["3", "from the image"],
        "Env": [path, "TOOL=its own"], "User": "node", "WorkingDir": "/srv",
    });
    let images = [
        image(BUSYBOX, busybox(&scratch.join("busybox")), plain()),
        image(ALPINE, alpine(&scratch.join("alpine")), plain()),
        image(GLIBC, glibc(&scratch.join("glibc")), plain()),
        image(BARE, bare(&scratch.join("bare")), json!({"Entrypoint": ["/app/busybox"]})),
        image(TOOL, with_entrypoint(&scratch.join("tool")), tool),
        image(
            POSTGRES,
            postgres(&scratch.join("postgres")),
            json!({"Entrypoint": ["/entry.sh"], "Env": [path]}),
        ),
        image(ALIEN, alien(&scratch.join("alien")), json!({"Entrypoint": ["/bin/tool"]})),
        image(RUNNER, runner(&scratch.join("runner")), json!({"Env": [path], "User": "1001:1001"})),
        image(
            EPHEMON,
            ephemon(&scratch.join("ephemon")),
            json!({
                "Entrypoint": ["/ephemon"], "User": "65532:65532", "Env": ["PATH=/", "MALLOC_ARENA_MAX=1"],
            }),
        ),
    ];
    pack_all(scratch, &images)
}

/// Writes [`NODE_RUNNER`] into an archive: a hundred megabytes, for the scenarios that need it.
pub(crate) fn node_archive(scratch: &Path) -> PathBuf {
    let root = runner(&scratch.join("node-runner"));
    let node = parts::program("node").expect("Node.js must be installed");
    copy(&node, &root.join(RUNNERS_NODE.trim_start_matches('/')));
    copy_libraries(&node, &root);
    let config = json!({"Env": ["PATH=/usr/local/bin:/bin"], "User": "1001:1001"});
    pack_all(scratch, &[Image { name: NODE_RUNNER, files: root, config }])
}

pub(crate) fn busybox(root: &Path) -> PathBuf {
    write(
        root,
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n\
         runner:x:1001:1001::/home/runner:/bin/sh\n",
    );
    write(root, "etc/group", "root:x:0:\nnode:x:1000:\n");
    write(root, "etc/os-release", "ID=small\n");
    let program = parts::program("busybox").expect("busybox-static must be installed");
    let bin = root.join("bin");
    for directory in ["bin", "root", "srv"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (directory, mode) in [("tmp", 0o1777), ("home/node", 0o777)] {
        fs::create_dir_all(root.join(directory)).unwrap();
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::copy(&program, bin.join("busybox")).unwrap();
    let applets = output(Command::new(program).arg("--list"));
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    root.to_owned()
}

fn alpine(root: &Path) -> PathBuf {
    busybox(root);
    write(root, "etc/alpine-release", "3.22.0\n");
    write(root, "etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\n");
    root.to_owned()
}

/// `run.sh` ends when asked to, once the call of the hook that is under way has ended.
fn runner(root: &Path) -> PathBuf {
    busybox(root);
    write(root, "home/runner/externals/node20/bin/node", "");
    write_program(
        root,
        "home/runner/run.sh",
        "#!/bin/sh\nstop() { while pidof ephemon-hook > /dev/null; do sleep 0.05; done; exit; }\n\
         trap stop TERM INT\nwhile :; do sleep 1000 & wait; done\n",
    );
    let authorities = "etc/ssl/certs/ca-certificates.crt";
    copy(&Path::new("/").join(authorities), &root.join(authorities));
    root.to_owned()
}

/// The agent is the one of this build, with the libraries that it is linked to.
fn ephemon(root: &Path) -> PathBuf {
    let programs = programs::built();
    copy(&programs.hook, &root.join("ephemon-hook"));
    copy(&programs.init, &root.join("ephemon-init"));
    let agent = programs::ephemon();
    copy(agent, &root.join("ephemon"));
    copy_libraries(agent, root);
    root.to_owned()
}

/// The dynamic loader and the libraries of a program.
fn copy_libraries(program: &Path, root: &Path) {
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and the loader without an arrow.
    for word in output(Command::new("ldd").arg(program)).split_whitespace() {
        if let Some(below) = word.strip_prefix('/') {
            copy(Path::new(word), &root.join(below));
        }
    }
}

fn glibc(root: &Path) -> PathBuf {
    write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    write(root, "etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    for (name, program) in
        [("bash", "bash"), ("sh", "dash"), ("env", "env"), ("cat", "cat"), ("ls", "ls")]
    {
        let program = parts::program(program).unwrap();
        copy(&program, &root.join("bin").join(name));
        copy_libraries(&program, root);
    }
    // The runner's Node.js, which comes by a volume, takes the image's libraries.
    if let Some(node) = parts::program("node") {
        copy_libraries(&node, root);
    }
    root.to_owned()
}

fn bare(root: &Path) -> PathBuf {
    copy(&parts::program("busybox").unwrap(), &root.join("app/busybox"));
    root.to_owned()
}

fn with_entrypoint(root: &Path) -> PathBuf {
    busybox(root);
    write_program(root, "entry.sh", ENTRYPOINT);
    root.to_owned()
}

fn postgres(root: &Path) -> PathBuf {
    busybox(root);
    let script = "#!/bin/sh\nport=${PGPORT:-5432}\necho $port > /srv/port\n\
        exec httpd -f -p $port -h /srv\n";
    write_program(root, "entry.sh", script);
    root.to_owned()
}

/// An ELF header for a processor that is not this one (`EM_S390`, big endian), and nothing after.
fn alien(root: &Path) -> PathBuf {
    let mut program = vec![0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x02\x01");
    program[16..20].copy_from_slice(&[0, 2, 0, 22]);
    for name in ["bin/sh", "bin/tool"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root.to_owned()
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn write_program(root: &Path, name: &str, text: &str) {
    write(root, name, text);
    fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

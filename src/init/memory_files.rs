//! `--tmpfs` and `--shm-size` of a container. A mount needs `CAP_SYS_ADMIN`, which few containers
//! have; without it a directory of the container's own file system is used, with a warning.

use std::{ffi::CString, fs, io, os::unix::fs::PermissionsExt, path::Path};

use ephemon_contract::{Setup, Tmpfs};
use rustix::{
    fs::statvfs,
    io::Errno,
    mount::{MountFlags, mount, mount_remount},
};

/// Path of POSIX shared memory.
const SHM: &str = "/dev/shm";
/// Mode of such a directory: writable for all users, as with Docker.
const MODE: u32 = 0o1777;

/// Mounts what is possible, and returns a sentence for each difference from the request. `root` is
/// where the container's paths begin; one that is not `/` has no mounts of its own, and mounts
/// there would change the node.
pub(super) fn set_up(setup: &Setup, root: &Path) -> Vec<String> {
    let directories = setup.tmpfs.iter().filter_map(|tmpfs| directory(tmpfs, root).err());
    let shm = setup.shm_bytes.filter(|_| is_own(root));
    directories.chain(shm.and_then(|bytes| shared_memory(bytes).err())).collect()
}

fn is_own(root: &Path) -> bool {
    root == Path::new("/")
}

fn directory(tmpfs: &Tmpfs, root: &Path) -> Result<(), String> {
    let path = root.join(tmpfs.path.trim_start_matches('/'));
    let shown = &tmpfs.path;
    make(&path)
        .map_err(|error| format!("--tmpfs {shown}: cannot create the directory: {error}"))?;
    let (flags, data) = options(&tmpfs.options);
    if !is_own(root) {
        return Err(format!(
            "--tmpfs {shown}: a directory on the container's disk is used instead"
        ));
    }
    let mounted = CString::new(data)
        .map_err(|_| Errno::INVAL)
        .and_then(|data| mount("tmpfs", &path, "tmpfs", flags, data.as_c_str()));
    match mounted {
        Ok(()) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => Err(format!(
            "--tmpfs {shown}: a directory on the container's disk is used instead, because a mount needs CAP_SYS_ADMIN"
        )),
        Err(error) => Err(format!("--tmpfs {shown}: cannot mount it: {error}")),
    }
}

/// Creates a directory that all users can write to, unless it exists.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

/// Options of `mount(8)`, added to Docker's defaults for a tmpfs (moby, `daemon/volumes_unix.go`):
/// flags, and options for the file system itself.
fn options(text: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut data = Vec::new();
    for option in text.split(',') {
        match option {
            "" | "rw" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "exec" => flags -= MountFlags::NOEXEC,
            "suid" => flags -= MountFlags::NOSUID,
            "dev" => flags -= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noatime" => flags |= MountFlags::NOATIME,
            other => data.push(other.to_owned()),
        }
    }
    if !data.iter().any(|option| option.starts_with("mode=")) {
        data.push(format!("mode={MODE:o}"));
    }
    (flags, data.join(","))
}

fn shared_memory(bytes: u64) -> Result<(), String> {
    let size = statvfs(SHM).map(|stat| stat.f_frsize.saturating_mul(stat.f_blocks));
    let size = size.unwrap_or(0);
    if size >= bytes {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let data = format!("size={bytes}");
    mount_remount(SHM, flags, data).map_err(|_| {
        format!(
            "--shm-size {bytes}: {SHM} has {size} bytes, and ephemon-init is not permitted to enlarge it; declare the volume `ephemon-shm`, an emptyDir of medium Memory, in the runner's pod template"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_options_come_first() {
        let usual = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(options(""), (usual, "mode=1777".to_owned()));
        let (flags, data) = options("rw,exec,size=64m,mode=700,ro");
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY);
        assert_eq!(data, "size=64m,mode=700");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_said() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), "").expect("a file");
        let setup = Setup { tmpfs: vec!["/file/x".parse().expect("a path")], ..Setup::default() };
        let notes = set_up(&setup, directory.path());
        assert!(notes.len() == 1 && notes[0].contains("/file/x"), "{notes:?}");
    }

    #[test]
    fn what_is_large_enough_is_left_alone() {
        assert_eq!(shared_memory(1), Ok(()));
    }
}

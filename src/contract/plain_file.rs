//! Opens regular files in directories that jobs can write to. A job can replace any of them by a
//! link, another hard link, a pipe or a device at any time. So the file is first opened with
//! `O_PATH`, which has no side effects, then checked, and then exactly the checked file is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};

/// Opens a regular file with only one name; if there is none and `mode` is given, creates it.
///
/// # Errors
///
/// Another kind of file is there, or the file cannot be opened.
pub fn open(path: &Path, how: &OpenOptions, mode: Option<u32>) -> io::Result<File> {
    let held = match (hold(CWD, path), mode) {
        (Err(error), Some(mode)) if error.kind() == io::ErrorKind::NotFound => {
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => hold(CWD, path)?,
            }
        }
        (held, _) => held?,
    };
    if !is_plain(&stat(&held)?) || stat(&held)?.st_nlink != 1 {
        return Err(not_plain());
    }
    reopen(&held, how)
}

/// Opens a regular file of a directory for reading. It may have several hard links, but must be in
/// the directory's own file system.
///
/// # Errors
///
/// Another kind of file is there, or the file cannot be opened.
pub fn read_at(directory: impl AsFd, name: &str) -> io::Result<File> {
    let home = stat(&directory)?;
    let held = hold(&directory, Path::new(name))?;
    let found = stat(&held)?;
    if !is_plain(&found) || found.st_dev != home.st_dev {
        return Err(not_plain());
    }
    reopen(&held, OpenOptions::new().read(true))
}

/// Opens a regular file for reading, with `root` as the root directory: of absolute paths, of links
/// and of `..` (`openat2(2)`, `RESOLVE_IN_ROOT`). It may be in another file system, as a volume is.
///
/// Where the file system is served by a process (FUSE), this can block for as long as that process
/// likes.
///
/// # Errors
///
/// Another kind of file is there, the file cannot be opened, or the kernel is older than Linux 5.6.
pub fn read_in_root(root: impl AsFd, path: &str) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let held = openat2(root, path, flags, Mode::empty(), resolve)?;
    if !is_plain(&stat(&held)?) {
        return Err(not_plain());
    }
    // Does not wait for the holder of a lease (`F_SETLEASE`).
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    reopen(&held, OpenOptions::new().read(true).custom_flags(nonblock))
}

fn hold(directory: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, path, flags, Mode::empty())?)
}

/// The kernel resolves this to exactly this file, whatever its name is now (proc(5)).
fn reopen(held: &OwnedFd, how: &OpenOptions) -> io::Result<File> {
    how.open(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

fn stat(file: impl AsFd) -> io::Result<Stat> {
    Ok(fstat(file)?)
}

fn is_plain(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

fn not_plain() -> io::Error {
    io::Error::other("it is not a regular file")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_opened_or_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let how = || OpenOptions::new().append(true).clone();
        assert!(open(&path, &how(), None).is_err());
        for text in ["a", "b"] {
            open(&path, &how(), Some(0o640)).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn nothing_else_is_opened_and_nothing_happens_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("runners"), "its own").unwrap();
        symlink(at("runners"), at("link")).unwrap();
        fs::hard_link(at("runners"), at("name")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let fifo = FileType::Fifo;
        rustix::fs::mknodat(CWD, at("pipe"), fifo, 0o600.into(), 0).unwrap();
        // With a reader, a pipe can be opened for writing without blocking.
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let reader = OpenOptions::new().read(true).custom_flags(nonblock).open(at("pipe"));
        let mut how = OpenOptions::new();
        how.write(true).truncate(true);
        for name in ["link", "name", "directory", "pipe"] {
            let opened = open(&at(name), &how, Some(0o600));
            let written = opened.and_then(|mut file| file.write_all(b"secret"));
            assert!(written.is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(at("runners")).unwrap(), "its own");
        let mut heard = [0; 8];
        assert_eq!(reader.unwrap().read(&mut heard).unwrap(), 0, "{heard:?}");
    }

    /// Opening a pipe can block forever, and opening a device can have side effects.
    #[test]
    fn nothing_but_a_file_is_opened_for_reading_and_nobody_waits() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        fs::hard_link(at("file"), at("name")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let make =
            |name, kind, device| rustix::fs::mknodat(CWD, at(name), kind, 0o600.into(), device);
        make("pipe", FileType::Fifo, 0).unwrap();
        make("socket", FileType::Socket, 0).unwrap();
        // A terminal; only root can create it.
        let device = make("device", FileType::CharacterDevice, rustix::fs::makedev(5, 0)).is_ok();
        let home = File::open(directory.path()).unwrap();
        for name in ["file", "name"] {
            let mut text = String::new();
            read_at(&home, name).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "text");
        }
        let others = ["link", "directory", "pipe", "socket", "nothing", ".", ".."];
        for name in others.into_iter().chain(device.then_some("device")) {
            assert!(read_at(&home, name).is_err(), "{name}");
        }
        // Another file system below the directory, like a mount.
        let proc = File::open("/").unwrap();
        assert!(read_at(&proc, "proc/self/status").is_err());
        assert!(read_at(&proc, "proc/version").is_err());
    }

    #[test]
    fn links_lead_nowhere_out_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("root/etc")).unwrap();
        fs::write(at("secret"), "the node's").unwrap();
        fs::write(at("root/secret"), "its own").unwrap();
        symlink("/", at("root/etc/top")).unwrap();
        symlink("../../..", at("root/etc/up")).unwrap();
        symlink(at("secret"), at("root/absolute")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        let fifo = FileType::Fifo;
        rustix::fs::mknodat(CWD, at("root/pipe"), fifo, 0o600.into(), 0).unwrap();
        let root = File::open(at("root")).unwrap();
        for path in ["/secret", "secret", "../secret", "/etc/top/secret", "/etc/up/secret"] {
            let mut text = String::new();
            read_in_root(&root, path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "its own", "{path}");
        }
        for path in ["/absolute", "/magic/etc/hostname", "/pipe", "/etc", "/nothing", ""] {
            assert!(read_in_root(&root, path).is_err(), "{path}");
        }
    }
}

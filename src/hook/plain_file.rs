//! Plain files in directories that jobs can write to. A job can put a link, a second name, a pipe or
//! a device in the place of any of them, also between two looks: so a place is held first without
//! being opened (`O_PATH`), looked at, and what was looked at is what is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// Opens a plain file of one name; makes one of this mode where there is nothing, if given.
///
/// # Errors
///
/// Something else has the name, or the file cannot be opened so.
pub(super) fn open(path: &Path, how: &OpenOptions, mode: Option<u32>) -> io::Result<File> {
    let held = match (hold(path), mode) {
        (Err(error), Some(mode)) if error.kind() == io::ErrorKind::NotFound => {
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => hold(path)?,
            }
        }
        (held, _) => held?,
    };
    let stat = fstat(&held)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_nlink != 1 {
        return Err(io::Error::other("something else than a plain file has taken its place"));
    }
    // The kernel leads from there to this very file, under whatever name it is now (proc(5)).
    how.open(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

fn hold(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
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
        // With a reader, a pipe can be opened for writing.
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
}

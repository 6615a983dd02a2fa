//! Links, directories and small files that the hook requests in the container's file system.

mod mounts;

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use ephemon_contract::{ErrorCode, Failure, Link, Present, WriteFile};
use rustix::io::Errno;

use self::mounts::Mounts;

/// Most links, and most directories, in one request.
const MAX_LINKS: usize = 64;
/// Attempts to create one link, because the inits of other containers create theirs in the same
/// volume.
const CREATE_ATTEMPTS: usize = 8;

/// Creates the links below `root`, and the directories that they need.
///
/// # Errors
///
/// The first link that cannot be created; those before it exist.
pub(super) fn link(links: &[Link], root: &Path) -> Result<(), Failure> {
    few(links.len(), "links")?;
    links.iter().try_for_each(|link| {
        link_one(&below(root, &link.path), Path::new(&link.target), link.present).map_err(|why| {
            let text = format!("cannot link {} to {}: {why}", link.path, link.target);
            Failure::new(ErrorCode::System, text)
        })
    })
}

/// Creates missing directories below `root`. One that cannot be created is skipped, because what
/// uses it reports a clearer error.
///
/// # Errors
///
/// There are too many directories.
pub(super) fn make_directories(paths: &[String], root: &Path) -> Result<(), Failure> {
    few(paths.len(), "directories")?;
    for path in paths {
        drop(fs::create_dir_all(below(root, path)));
    }
    Ok(())
}

fn few(number: usize, what: &str) -> Result<(), Failure> {
    if number > MAX_LINKS {
        return Err(Failure::new(ErrorCode::Busy, format!("more than {MAX_LINKS} {what}")));
    }
    Ok(())
}

fn link_one(path: &Path, target: &Path, present: Present) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut attempts = CREATE_ATTEMPTS;
    loop {
        match symlink(target, path) {
            Err(error)
                if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) && attempts > 0 =>
            {
                if fs::read_link(path).is_ok_and(|present| present == target) {
                    return Ok(());
                }
                make_room(path, present)?;
                attempts -= 1;
            }
            other => return other,
        }
    }
}

/// Removes what is in the place of a link.
fn make_room(path: &Path, present: Present) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        // Another process removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_symlink() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    if present == Present::Refuse {
        return Err(io::Error::other("another file is there"));
    }
    let mounts = Mounts::read()?;
    let real = fs::canonicalize(path)?;
    if mounts.any_below(&real) {
        return Err(io::Error::other("a volume is mounted there, or the image declares one"));
    }
    if kind.is_dir() {
        // An empty directory contains no data, even if it is in a volume.
        if fs::remove_dir(&real).is_ok() {
            return Ok(());
        }
    }
    if mounts.is_in_volume(&real) {
        return Err(io::Error::other(
            "it is on a volume of the pod, and its content would be lost",
        ));
    }
    if kind.is_dir() { fs::remove_dir_all(&real) } else { fs::remove_file(&real) }
}

/// Writes a file below `root`.
pub(super) fn write(file: &WriteFile, root: &Path) -> Result<(), Failure> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(file.mode & 0o7777)
        .open(below(root, &file.path))
        .and_then(|mut open| open.write_all(&file.content.0));
    written.map_err(|error| {
        Failure::new(ErrorCode::System, format!("cannot write {}: {error}", file.path))
    })
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.strip_prefix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use ephemon_contract::Chunk;

    use super::*;

    #[test]
    fn a_wrong_link_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("home");
        let make = |target: &str| {
            link(
                &[Link {
                    path: path.display().to_string(),
                    target: target.to_owned(),
                    present: Present::Refuse,
                }],
                Path::new("/"),
            )
        };
        for target in ["/a", "/a", "/b"] {
            make(target).expect("a link");
            assert_eq!(fs::read_link(&path).expect("a link"), Path::new(target));
        }
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "mine").expect("a file");
        assert!(make("/a").is_err());
        assert_eq!(fs::read(&path).expect("a file"), b"mine");
    }

    #[test]
    fn a_volume_stands_in_the_place_of_what_the_image_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let (full, file, missing) = ("full", "file", "missing/parents/here");
        fs::create_dir_all(directory.path().join("full/below")).expect("made");
        fs::write(directory.path().join("full/below/x"), "").expect("a file");
        fs::write(directory.path().join(file), "").expect("a file");
        let precious = tempfile::tempdir().expect("a directory");
        fs::write(precious.path().join("x"), "kept").expect("a file");
        symlink(precious.path(), directory.path().join("full/away")).expect("a link");
        let in_volume = Mounts::read().expect("mounts").is_in_volume(directory.path());
        for path in [full, file, missing] {
            let path = directory.path().join(path);
            let link = Link {
                path: path.display().to_string(),
                target: "/__w/r".to_owned(),
                present: Present::Replace,
            };
            let made = super::link(&[link], Path::new("/"));
            if in_volume && path.exists() {
                assert!(made.expect_err("refused").text.contains("volume of the pod"));
            } else {
                assert_eq!(made, Ok(()));
                assert_eq!(fs::read_link(&path).expect("a link"), Path::new("/__w/r"));
            }
        }
        assert_eq!(fs::read(precious.path().join("x")).expect("kept"), b"kept");
    }

    #[test]
    fn what_cannot_be_made_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["/proc/no".to_owned(), directory.path().join("a/b").display().to_string()];
        assert_eq!(make_directories(&paths, Path::new("/")), Ok(()));
        assert!(directory.path().join("a/b").is_dir());
        let many = vec!["/tmp".to_owned(); MAX_LINKS + 1];
        assert!(make_directories(&many, Path::new("/")).is_err());
    }

    #[test]
    fn a_file_is_written_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f").display().to_string();
        let root = Path::new("/");
        let content = |text: &str| Chunk(text.as_bytes().to_vec());
        for text in ["longer text", "short"] {
            write(&WriteFile { path: path.clone(), content: content(text), mode: 0o600 }, root)
                .expect("written");
        }
        assert_eq!(fs::read(&path).expect("a file"), b"short");
        let nowhere = format!("{path}/x");
        assert!(
            write(&WriteFile { path: nowhere, content: content(""), mode: 0o600 }, root).is_err()
        );
    }
}

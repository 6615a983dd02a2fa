//! Links and small files that the hook wants in the container's file system.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use crate::contract::{ErrorCode, Failure, Link, WriteFile};

/// Most links in one request.
const MAX_LINKS: usize = 64;

/// Makes the links below `root`. What is there and is not a link is left alone and refused.
pub(super) fn link(links: &[Link], root: &Path) -> Result<(), Failure> {
    if links.len() > MAX_LINKS {
        return Err(Failure::new(ErrorCode::Busy, format!("more than {MAX_LINKS} links")));
    }
    links.iter().try_for_each(|link| {
        link_one(&below(root, &link.path), Path::new(&link.target)).map_err(|error| {
            let text = format!("cannot link {} to {}: {error}", link.path, link.target);
            Failure::new(ErrorCode::System, text)
        })
    })
}

fn link_one(path: &Path, target: &Path) -> io::Result<()> {
    match symlink(target, path) {
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
            match fs::read_link(path) {
                Ok(present) if present == target => Ok(()),
                Ok(_) => {
                    fs::remove_file(path)?;
                    symlink(target, path)
                }
                Err(_) => Err(error),
            }
        }
        other => other,
    }
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
    use super::*;
    use crate::contract::Chunk;

    #[test]
    fn a_wrong_link_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("home");
        let make = |target: &str| {
            link(
                &[Link { path: path.display().to_string(), target: target.to_owned() }],
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

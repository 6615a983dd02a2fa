//! The container's mounts, from `/proc/self/mountinfo` (proc(5)), so that files of a volume are not
//! treated as the container's own.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Field of a line with the mount point.
const MOUNT_POINT: usize = 4;

/// The mount points.
#[derive(Debug)]
pub(super) struct Mounts(Vec<PathBuf>);

// === impl Mounts ===

impl Mounts {
    pub(super) fn read() -> io::Result<Self> {
        fs::read("/proc/self/mountinfo").map(|text| Self::of(&text))
    }

    fn of(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n');
        let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(MOUNT_POINT));
        Self(points.map(|point| PathBuf::from(OsStr::from_bytes(&unescaped(point)))).collect())
    }

    /// Whether a path is a mount, or has one below it.
    pub(super) fn any_below(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.starts_with(path))
    }

    /// Whether a path is in another mount than the root file system.
    pub(super) fn is_in_volume(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount != Path::new("/") && path.starts_with(mount))
    }
}

/// Spaces and similar characters are octal in that file: `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(byte) = code {
            out.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_told_from_the_containers_own() {
        let mounts = Mounts::of(
            b"1 0 0:1 / / rw - overlay overlay rw\n\
              2 1 8:1 /pods/a\\040b /__w rw,relatime - ext4 /dev/sda rw\n\
              3 1 8:1 / /with\\040blank rw - ext4 /dev/sda rw\nbroken\n",
        );
        let below = |path: &str| mounts.any_below(Path::new(path));
        let inside = |path: &str| mounts.is_in_volume(Path::new(path));
        assert!(below("/") && below("/__w") && below("/with blank"));
        assert!(!below("/__w/r") && !below("/__") && !below("/usr"));
        assert!(inside("/__w") && inside("/__w/r/r") && inside("/with blank/x"));
        assert!(!inside("/usr") && !inside("/__work") && !inside("/"));
    }
}

//! Values that were told in other containers of the pod, taken before a step begins. Their files are
//! root's to read: an init of another user masks by what it was told itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

use crate::mask::{
    Masks,
    shared::{MAX_FILE_BYTES, Told, parse},
};

/// Most files looked at: one a container.
const MAX_FILES: usize = 512;

/// Adds to `masks` what lies in the directory, but for the file `own`.
pub(super) fn learn(directory: &Path, own: &Path, masks: &Masks) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_FILES) {
        let path = entry.path();
        if path == own {
            continue;
        }
        // What cannot be read is another user's: the agent knows it.
        let Ok(text) = read(&path) else { continue };
        let values: Vec<Vec<u8>> = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| match parse(line) {
                Some(Told::Value(value)) => Some(value),
                Some(Told::Lost) | None => None,
            })
            .collect();
        // Too many is remembered by the masks themselves.
        masks.add(values.iter().map(Vec::as_slice)).ok();
    }
}

/// A regular file's text: jobs can put anything there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file: File = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let mut text = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::shared::SharedMasks;

    #[test]
    fn what_other_containers_told_is_masked_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(format!("{name}.jsonl"));
        SharedMasks::open(&file("job")).expect("a file").tell(Some(b"hunter2"));
        SharedMasks::open(&file("step")).expect("a file").tell(Some(b"own"));
        std::os::unix::fs::symlink("/dev/zero", file("zero")).expect("a link");
        fs::write(file("bad"), "garbage\n").expect("a file");
        let masks = Masks::default();
        learn(directory.path(), &file("step"), &masks);
        let mut shown = Vec::new();
        let matcher = masks.matcher().expect("few");
        matcher.mask(b"hunter2 own", usize::MAX, &mut shown).expect("no limit");
        assert_eq!(shown, b"*** own");
    }
}

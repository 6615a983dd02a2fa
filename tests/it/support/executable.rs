//! Programs and scripts that a test makes and then runs.
//!
//! Linux refuses to run a file that any process has open for writing (`ETXTBSY`, execve(2)). Tests
//! run as threads of one process, and a child that another thread starts in that moment holds a copy
//! of every descriptor until its own `execve`. So no such file is written by this process: a child
//! of one thread writes it, and that child's descriptors are nobody else's.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::output;

/// Copies a program to where it is run.
pub(crate) fn place(program: &Path, to: &Path) {
    output(Command::new("install").args(["-m", "755"]).arg(program).arg(to));
}

/// Makes an executable file of this text.
pub(crate) fn write(path: &Path, text: &[u8]) {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".text");
    fs::write(&partial, text).unwrap();
    place(Path::new(&partial), path);
    fs::remove_file(&partial).unwrap();
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn what_was_made_can_be_run_while_other_threads_start_programs() {
        let directory = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        output(&mut Command::new("true"));
                    }
                });
            }
            for number in 0..200 {
                let path = directory.path().join(number.to_string());
                write(&path, b"#!/bin/sh\necho ran\n");
                let ran = Command::new(&path).output();
                done.fetch_or(ran.is_err(), Ordering::Relaxed);
                assert_eq!(ran.unwrap().stdout, b"ran\n");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

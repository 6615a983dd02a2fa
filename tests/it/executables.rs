//! What a test makes and runs, beside tests that start programs.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::executable::write;
use crate::support::process::output;

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

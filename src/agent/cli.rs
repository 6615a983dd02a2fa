//! The command line of `ephemon`.

mod demo;
mod pages;

use std::process::ExitCode;

use clap::Parser;

use crate::{Args, install, run};

/// Exact metrics of Kubernetes ephemeral containers, for CI jobs that run in them
#[derive(Debug, Parser)]
#[command(name = "ephemon", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Agent(Box<Args>),
    Demo(demo::Demo),
    Install(install::Args),
    Completions(pages::Completions),
    Man(pages::Manual),
}

impl Cli {
    /// Runs the command and returns the process's exit code. Errors go to standard error as one
    /// sentence.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("cannot start the runtime: {error}")),
        };
        match self.command {
            Command::Install(args) => match install::run(&args) {
                Ok(done) => said(&done),
                Err(error) => failed(&error.to_string()),
            },
            Command::Agent(args) => match runtime.block_on(run(*args)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            },
            Command::Demo(demo) => match demo.run() {
                Ok(never) => match never {},
                Err(error) => failed(&error.to_string()),
            },
            Command::Completions(args) => shown(args.print()),
            Command::Man(args) => shown(args.print()),
        }
    }
}

fn shown(printed: Result<(), pages::Error>) -> ExitCode {
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

#[expect(clippy::print_stdout, reason = "the one line of output of a command")]
fn said(what: &str) -> ExitCode {
    println!("ephemon: {what}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "the program's last message, with or without a log")]
fn failed(why: &str) -> ExitCode {
    eprintln!("ephemon: {why}");
    ExitCode::FAILURE
}

//! The command line of `ephemon`.

mod asker;
mod debug;
mod demo;
mod pages;
mod parse;
mod plugin;
mod plugin_completion;

use std::process::ExitCode;

use clap::Parser;

use crate::check::{self, Report};
use crate::{Args, advice, install, probe, report, run};

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
    Advice(Box<advice::Args>),
    Debug(debug::Debug),
    Demo(demo::Demo),
    Install(install::Args),
    Probe(probe::Args),
    Report(Box<report::Args>),
    Completions(pages::Completions),
    Man(pages::Manual),
    #[command(flatten)]
    Cluster(ephemon_kubectl::Command),
}

impl Cli {
    /// Runs what this process's command line asks for and returns its exit code: 0, 1 for a failure,
    /// 2 for a wrong command line or configuration file. Errors go to standard error as one sentence.
    pub fn run_process() -> ExitCode {
        let mut words = std::env::args_os();
        let program = words.next();
        let is_asker = asker::is_it(program.as_ref());
        if is_asker || plugin_completion::is_asked(program.as_ref()) {
            let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            return completed(&words, is_asker);
        }
        match parse::cli(program.into_iter().chain(words)) {
            Ok(cli) => cli.run(),
            // Does not return: prints usage, help or version.
            Err(parse::Error::Usage(error)) => error.exit(),
            Err(parse::Error::File(error)) => {
                failed(&error.to_string());
                ExitCode::from(2)
            }
        }
    }

    fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("cannot start the runtime: {error}")),
        };
        match self.command {
            Command::Install(args) => match install::run(&args) {
                Ok(done) => said(&done),
                Err(error) => failed(&error.to_string()),
            },
            Command::Agent(args) if args.check => checked(&runtime.block_on(check::run(&args))),
            Command::Agent(args) => match runtime.block_on(run(*args)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            },
            Command::Advice(args) => match runtime.block_on(advice::run(&args)) {
                Ok(text) => printed(&text),
                Err(error) => failed(&error.to_string()),
            },
            Command::Debug(debug) => match runtime.block_on(debug.run()) {
                Ok(text) => printed(&text),
                Err(error) => failed(&error.to_string()),
            },
            Command::Demo(demo) => match demo.run() {
                Ok(never) => match never {},
                Err(error) => failed(&error.to_string()),
            },
            Command::Probe(args) => {
                let answer = runtime.block_on(probe::run(&args));
                // A look-up of a name has no deadline of its own, and a drop would wait for it.
                runtime.shutdown_background();
                match answer {
                    Ok(text) => printed(&text),
                    Err(error) => failed(&error.to_string()),
                }
            }
            Command::Report(args) => match runtime.block_on(report::run(&args)) {
                Ok(text) => printed(&text),
                Err(error) => failed(&error.to_string()),
            },
            Command::Completions(args) => shown(args.print()),
            Command::Man(args) => shown(args.print()),
            Command::Cluster(command) => match runtime.block_on(command.run()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) if error.is_closed() => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            },
        }
    }
}

/// Prints what may follow the words. Jobs that the last one may name are asked for in another process.
fn completed(words: &[String], is_asker: bool) -> ExitCode {
    let text = |jobs: &[(String, String)]| plugin::completions(words, jobs);
    match plugin::source_of_job(words) {
        Some(source) if is_asker => match ephemon_kubectl::candidates(&source) {
            Some(jobs) => printed(&text(&jobs)),
            None => asker::end_group(),
        },
        Some(_) => printed(&asker::printed(words).unwrap_or_else(|| text(&[]))),
        None => printed(&text(&[])),
    }
}

/// Prints the table; fails where something that is needed is missing.
fn checked(report: &Report) -> ExitCode {
    let printed = printed(&report.to_string());
    if report.is_usable() { printed } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "what the command is there to print")]
fn printed(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
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

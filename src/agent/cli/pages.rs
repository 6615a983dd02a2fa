//! Output generated from the definition of the command line: shell completions and manual pages.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// Print a shell's completions of ephemon's commands and flags
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ephemon completions bash > /etc/bash_completion.d/ephemon")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Print the manual page of ephemon, or of one of its commands
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ephemon man agent | man -l -")]
pub(super) struct Manual {
    /// The command whose page it is
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The output is missing or incomplete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no such command.
    #[error("there is no command {0:?}; `ephemon --help` lists them")]
    NoCommand(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

// === impl Completions ===

impl Completions {
    pub(super) fn print(&self) -> Result<(), Error> {
        print(&self.text())
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ephemon", &mut text);
        text
    }
}

// === impl Manual ===

impl Manual {
    pub(super) fn print(&self) -> Result<(), Error> {
        print(&self.page()?)
    }

    fn page(&self) -> Result<Vec<u8>, Error> {
        let mut cli = Cli::command();
        // Sets the full name of each command.
        cli.build();
        let command = match &self.command {
            None => cli,
            Some(name) => {
                let found = cli.find_subcommand(name).cloned();
                found.ok_or_else(|| Error::NoCommand(name.clone()))?
            }
        };
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        Ok(page)
    }
}

/// A reader that closes the pipe early, as `head` does, is not an error.
fn print(text: &[u8]) -> Result<(), Error> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_gets_completions_of_every_command() {
        for &shell in Shell::value_variants() {
            let text = String::from_utf8(Completions { shell }.text()).unwrap();
            for word in ["agent", "demo", "install", "enforce-limits"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page_and_others_do_not() {
        let page = |command: Option<&str>| {
            let page = Manual { command: command.map(str::to_owned) }.page();
            page.map(|page| String::from_utf8(page).unwrap())
        };
        assert!(page(None).unwrap().contains("ephemon\\-agent(1)"));
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let page = page(Some(name)).unwrap();
            assert!(page.contains(&format!(".TH ephemon-{name}")), "{page}");
        }
        let error = page(Some("nothing")).unwrap_err().to_string();
        assert!(error.contains("\"nothing\"") && error.contains("--help"), "{error}");
    }
}

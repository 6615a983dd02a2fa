//! The client of a node's API, as its users have it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::process::{output, until};

/// `kubectl` with a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

// === impl Kubectl ===

impl Kubectl {
    pub(super) fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned() }
    }

    /// The same client of the same API, as nobody: for a `--token` of its own.
    pub(crate) fn without_user(&self) -> Self {
        let kubeconfig = self.kubeconfig.with_extension("anonymous");
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("users:"));
        let text =
            lines.fold(String::new(), |all, line| all + &line.replace(", user: admin", "") + "\n");
        // Tests at once share the node and this file: none may read half of it.
        let partial = tempfile::NamedTempFile::new_in(kubeconfig.parent().unwrap()).unwrap();
        std::fs::write(&partial, text).unwrap();
        partial.persist(&kubeconfig).unwrap();
        Self { program: self.program.clone(), kubeconfig }
    }

    /// Where the configuration is.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The command with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(words);
        command
    }

    /// What it prints.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        output(&mut self.command(words))
    }

    /// How it ends when it is given this input.
    pub(crate) fn try_with(&self, words: &[&str], input: &str) -> Output {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that refuses at once reads nothing.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Creates or changes what the text describes, in any number of documents; one call at a time, for
    /// kubectl looks first and creates then, so that of two with the same object one would fail.
    ///
    /// # Panics
    /// If the API refuses.
    pub(crate) fn apply(&self, text: &str) {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.try_with(&["apply", "-f", "-"], text);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Waits until resources that were just defined can be used. One that has no conditions yet is an error
    /// to `kubectl wait`.
    pub(crate) fn until_established(&self, definition: &str) {
        let words = ["wait", "--for=condition=Established", "--timeout=10s", "crd", definition];
        let done = || Some(self.command(&words).output().unwrap()).filter(|it| it.status.success());
        until(Duration::from_mins(1), done).unwrap_or_else(|| panic!("{}", self.run(&words)));
    }
}

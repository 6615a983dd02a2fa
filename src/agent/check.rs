//! `ephemon agent --check`: what the agent needs on this node with these settings, looked at once,
//! without running it. It changes nothing but what starting the agent would: it makes the state
//! directory and a file in it.

mod node;
mod remote;

use std::fmt;

use super::args::Args;

/// How a part of the agent's surroundings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Fine,
    /// A feature is missing or limited; the agent runs.
    Limited,
    /// The agent does not start, or shows nothing.
    Missing,
}

/// What was found of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) part: &'static str,
    pub(super) verdict: Verdict,
    /// What is there or what is not, and then what to do.
    pub(super) what: String,
}

/// All findings, as a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Report(Vec<Finding>);

/// Looks at everything.
pub(super) async fn run(args: &Args) -> Report {
    // As the agent does: what is made is for this user alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let mut findings = node::findings(args);
    findings.extend(remote::findings(args).await);
    Report(findings)
}

// === impl Finding ===

impl Finding {
    pub(super) fn fine(part: &'static str, what: impl Into<String>) -> Self {
        Self { part, verdict: Verdict::Fine, what: what.into() }
    }

    pub(super) fn limited(part: &'static str, what: impl Into<String>) -> Self {
        Self { part, verdict: Verdict::Limited, what: what.into() }
    }

    pub(super) fn missing(part: &'static str, what: impl Into<String>) -> Self {
        Self { part, verdict: Verdict::Missing, what: what.into() }
    }
}

// === impl Report ===

impl Report {
    /// Whether the agent would start and show containers.
    pub(super) fn is_usable(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Missing)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.part.len()).max().unwrap_or_default();
        for Finding { part, verdict, what } in &self.0 {
            let verdict = match verdict {
                Verdict::Fine => "ok",
                Verdict::Limited => "limited",
                Verdict::Missing => "MISSING",
            };
            writeln!(f, "{verdict:<7}  {part:<width$}  {what}")?;
        }
        let count = |verdict| self.0.iter().filter(|finding| finding.verdict == verdict).count();
        let (limited, missing) = (count(Verdict::Limited), count(Verdict::Missing));
        match (missing, limited) {
            (0, 0) => writeln!(f, "\nThe agent has everything it needs here."),
            (0, _) => writeln!(f, "\nThe agent runs here; {limited} of its features are limited."),
            _ => writeln!(f, "\nThe agent cannot work here: {missing} of its needs are missing."),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn args(line: &[&str]) -> Args {
        let command = Args::augment_args(Command::new("agent"));
        let words = ["agent"].into_iter().chain(line.iter().copied());
        Args::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[test]
    fn only_what_is_missing_makes_the_agent_unusable() {
        let fine = Finding::fine("cgroups", "version 2");
        let limited = Finding::limited("real-time priority", "no CAP_SYS_NICE");
        let missing = Finding::missing("API server", "refused");
        assert!(Report(vec![fine.clone(), limited.clone()]).is_usable());
        let report = Report(vec![fine, limited, missing]);
        assert!(!report.is_usable());
        let text = report.to_string();
        assert!(text.contains("MISSING  API server          refused\n"), "{text}");
        assert!(text.contains("limited  real-time priority  no CAP_SYS_NICE\n"), "{text}");
        assert!(text.ends_with("1 of its needs are missing.\n"), "{text}");
    }

    #[tokio::test]
    async fn a_node_is_looked_at_below_its_root() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().to_str().unwrap();
        let line = ["--node-root", at, "--no-api", "--listen", "127.0.0.1:0"];
        let report = run(&args(&line)).await;
        let found = |part: &str| report.0.iter().find(|finding| finding.part == part).unwrap();
        assert_eq!(found("cgroups").verdict, Verdict::Missing, "{report}");
        assert_eq!(found("pod logs").verdict, Verdict::Limited, "{report}");
        assert_eq!(found("state directory").verdict, Verdict::Fine, "{report}");

        let kubepods = root.path().join("sys/fs/cgroup/kubepods.slice");
        std::fs::create_dir_all(&kubepods).unwrap();
        std::fs::write(root.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu\n").unwrap();
        std::fs::create_dir_all(root.path().join("var/log/pods")).unwrap();
        let report = run(&args(&line)).await;
        let found = |part: &str| report.0.iter().find(|finding| finding.part == part).unwrap();
        assert_eq!(found("cgroups").verdict, Verdict::Fine, "{report}");
        assert!(found("cgroups").what.contains("kubepods.slice"), "{report}");
        assert_eq!(found("pod logs").verdict, Verdict::Fine, "{report}");
        assert!(report.is_usable(), "{report}");
    }

    #[tokio::test]
    async fn a_second_agent_on_the_node_is_named() {
        let root = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let at = root.path().to_str().unwrap();
        let line = ["--node-root", at, "--no-api", "--listen", &address];
        let held = crate::lock::NodeLock::take(&root.path().join("var/lib/ephemon")).unwrap();
        let report = run(&args(&line)).await.to_string();
        assert!(report.contains(&format!("process {}", std::process::id())), "{report}");
        assert!(report.contains("ok       listen address"), "it is the agent's own: {report}");
        drop(held);
        let report = run(&args(&line)).await.to_string();
        assert!(report.contains("limited  listen address"), "{report}");
    }
}

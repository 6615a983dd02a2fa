//! What the shell of a step by `exec` reads. Pure.

/// The variable by which a step's processes are found again.
const MARK: &str = "EPHEMON_EXEC_STEP";

/// A step for a shell.
#[derive(Debug)]
pub(in crate::hook) struct Step<'a> {
    /// Tells this step's processes from all others.
    pub(in crate::hook) mark: String,
    pub(in crate::hook) env: &'a [(String, String)],
    pub(in crate::hook) prepend_path: &'a [String],
    pub(in crate::hook) cwd: Option<&'a str>,
    /// As a shell reads it.
    pub(in crate::hook) line: &'a str,
}

// === impl Step ===

impl Step<'_> {
    /// The whole step. The last part is read to its end before it begins, for it takes the
    /// shell's input away from it.
    pub(in crate::hook) fn text(&self) -> String {
        let mut lines = vec![format!("export {MARK}={}", shell_quote(&self.mark))];
        let (plain, odd): (Vec<_>, Vec<_>) = self.env.iter().partition(|(name, _)| is_plain(name));
        lines.extend(
            plain.iter().map(|(name, value)| format!("export {name}={}", shell_quote(value))),
        );
        if !self.prepend_path.is_empty() {
            let path = shell_quote(&self.prepend_path.join(":"));
            lines.push(format!("export PATH={path}\"${{PATH:+:$PATH}}\""));
        }
        if let Some(cwd) = self.cwd {
            lines.push(format!("cd {} || exit 126", shell_quote(cwd)));
        }
        let pairs = odd.iter().map(|(name, value)| shell_quote(&format!("{name}={value}")));
        let env = (!odd.is_empty()).then(|| "env".to_owned());
        let words: Vec<String> =
            env.into_iter().chain(pairs).chain([self.line.to_owned()]).collect();
        lines.push(format!("{{ exec </dev/null\nexec {}\n}}\n", words.join(" ")));
        lines.join("\n")
    }

    /// Signals every process that has the step's mark.
    pub(in crate::hook) fn kill_text(&self, signal: &str) -> String {
        let mark = shell_quote(&format!("{MARK}={}", self.mark));
        format!(
            "for p in /proc/[0-9]*; do grep -qs {mark} \"$p/environ\" && kill -{signal} \"${{p#/proc/}}\"; done 2>/dev/null; :\n"
        )
    }
}

/// What a container without an init is furnished with: links, and names in `/etc/hosts` where they
/// can be written. Prints whether the image is Alpine.
pub(in crate::hook) fn setup(links: &[(String, String)], hosts: &[(String, String)]) -> String {
    let links = links.iter().map(|(path, target)| {
        let (path, target) = (shell_quote(path), shell_quote(target));
        format!(
            "mkdir -p \"$(dirname {path})\" && rm -f {path} && ln -s {target} {path} || exit 1\n"
        )
    });
    let hosts = hosts.iter().map(|(address, names)| {
        let line = shell_quote(&format!("{address}\t{names}"));
        format!("grep -qsxF {line} /etc/hosts || echo {line} 2>/dev/null >>/etc/hosts || :\n")
    });
    let alpine = "if [ -e /etc/alpine-release ] || grep -qsE '^ID=\"?alpine\"?$' /etc/os-release; then echo alpine; fi\n";
    links.chain(hosts).chain([alpine.to_owned()]).collect()
}

/// One word of a shell, whatever is in it.
fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A name that a shell can export.
fn is_plain(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use super::*;

    fn feed(script: &str) -> Output {
        let mut shell = Command::new("sh")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        shell.wait_with_output().unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn values_arrive_as_they_are_and_the_input_is_empty() {
        let env = [pair("A", "it's $HOME `x` \"q\"\nüber"), pair("INPUT_NODE-VERSION", "2 0")];
        let path = ["/first dir".to_owned(), "/second".to_owned()];
        let line = "sh -c 'printf \"%s|\" \"$A\" \"$PATH\" \"$PWD\"; wc -c; exit 42'";
        let step =
            Step { mark: "m".to_owned(), env: &env, prepend_path: &path, cwd: Some("/tmp"), line };
        let output = feed(&step.text());
        let text = String::from_utf8(output.stdout).unwrap();
        let wanted = "it's $HOME `x` \"q\"\nüber|/first dir:/second:/usr/bin:/bin|/tmp|0\n";
        assert_eq!((text.as_str(), output.status.code()), (wanted, Some(42)));
    }

    #[test]
    fn names_that_no_shell_exports_arrive_too() {
        let env = [pair("INPUT_NODE-VERSION", "2 '0'"), pair("A", "a")];
        let line = "env";
        let step = Step { mark: "m".to_owned(), env: &env, prepend_path: &[], cwd: None, line };
        let text = String::from_utf8(feed(&step.text()).stdout).unwrap();
        assert!(text.contains("INPUT_NODE-VERSION=2 '0'\n") && text.contains("A=a\n"), "{text}");
    }

    #[test]
    fn a_directory_that_is_not_there_and_a_broken_line_are_failures() {
        let step =
            |cwd, line| Step { mark: "m".to_owned(), env: &[], prepend_path: &[], cwd, line };
        assert_eq!(feed(&step(Some("/no/such"), "true").text()).status.code(), Some(126));
        assert_ne!(feed(&step(None, "echo \"open").text()).status.code(), Some(0));
    }

    #[test]
    fn a_step_is_found_by_its_mark_and_nobody_else() {
        let sleeper =
            |mark: &str| Command::new("sleep").arg("1000").env(MARK, mark).spawn().unwrap();
        let mark = format!("test-{}", std::process::id());
        let (mut ours, mut other) = (sleeper(&mark), sleeper("another"));
        let step = Step { mark, env: &[], prepend_path: &[], cwd: None, line: "" };
        assert!(feed(&step.kill_text("KILL")).status.success());
        assert!(!ours.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn links_are_made_and_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b c");
        let links = [(path.to_str().unwrap().to_owned(), "/somewhere".to_owned())];
        for _ in 0..2 {
            assert!(feed(&setup(&links, &[])).status.success());
        }
        assert_eq!(std::fs::read_link(&path).unwrap(), std::path::Path::new("/somewhere"));
    }
}

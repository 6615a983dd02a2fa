//! The script that the shell of a step by `exec` reads. Pure.

/// The variable that identifies the processes of a step.
const MARK: &str = "EPHEMON_EXEC_STEP";

/// A step as a shell script.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// Identifies the processes of this step.
    pub(crate) mark: String,
    pub(crate) env: &'a [(String, String)],
    pub(crate) prepend_path: &'a [String],
    pub(crate) cwd: Option<&'a str>,
    /// One shell command: see [`line()`].
    pub(crate) line: &'a str,
}

// === impl Step ===

impl Step<'_> {
    /// The whole script. The shell reads the last part completely before it runs it, because that
    /// part takes over the shell's standard input.
    pub(crate) fn text(&self) -> String {
        // Looked up before the step's own PATH applies, and kept in a place that is not part of the
        // environment.
        let mut lines = vec!["set -- \"$(command -v env)\"".to_owned()];
        lines.push(format!("export {MARK}={}", shell_quote(&self.mark)));
        let (plain, odd): (Vec<_>, Vec<_>) =
            self.env.iter().partition(|(name, _)| is_exportable(name));
        lines.extend(
            plain.iter().map(|(name, value)| format!("export {name}={}", shell_quote(value))),
        );
        if !self.prepend_path.is_empty() {
            let path = shell_quote(&self.prepend_path.join(":"));
            lines.push(format!("export PATH={path}\"${{PATH:+:$PATH}}\""));
        }
        if let Some(cwd) = self.cwd {
            lines.push(format!("cd -- {} || exit 126", shell_quote(cwd)));
        }
        lines.push("{ exec </dev/null".to_owned());
        if !odd.is_empty() {
            let pairs: Vec<String> =
                odd.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let pairs = quoted(pairs.iter().map(String::as_str));
            lines.push(format!("[ -z \"$1\" ] || exec \"$1\" -- {pairs} {}", self.line));
            let names = quoted(odd.iter().map(|(name, _)| name.as_str()));
            lines.push(format!(
                "echo 'ephemon: this image has no program env, and its shell cannot set' {names} >&2"
            ));
        }
        lines.push(format!("exec {}\n}}\n", self.line));
        lines.join("\n")
    }

    /// Sends a signal to every process of the step.
    pub(crate) fn kill_text(&self, signal: &str) -> String {
        let mark = shell_quote(&format!("{MARK}={}", self.mark));
        format!(
            "for p in /proc/[0-9]*; do grep -qs {mark} \"$p/environ\" && kill -{signal} \"${{p#/proc/}}\"; done 2>/dev/null; :\n"
        )
    }
}

/// Sets up a container without init: links, and names in `/etc/hosts` if it is writable. Prints
/// whether the image is Alpine.
pub(crate) fn setup(
    directories: &[String],
    links: &[(String, String)],
    hosts: &[(String, String)],
) -> String {
    // A directory that cannot be created is skipped, as init does.
    let directories =
        directories.iter().map(|path| format!("mkdir -p {} 2>/dev/null || :\n", shell_quote(path)));
    let links = links.iter().map(|(path, target)| {
        let (path, target) = (shell_quote(path), shell_quote(target));
        format!(
            "mkdir -p \"$(dirname {path})\" || exit 1\nrm -f {path} 2>/dev/null || rmdir {path} || exit 1\nln -s {target} {path} || exit 1\n"
        )
    });
    let hosts = hosts.iter().map(|(address, names)| {
        let line = shell_quote(&format!("{address}\t{names}"));
        format!("grep -qsxF {line} /etc/hosts || echo {line} 2>/dev/null >>/etc/hosts || :\n")
    });
    let alpine = "if [ -e /etc/alpine-release ] || grep -qsE '^ID=\"?alpine\"?$' /etc/os-release; then echo alpine; fi\n";
    directories.chain(links).chain(hosts).chain([alpine.to_owned()]).collect()
}

/// A command that runs in a shell of its own, with both output streams joined.
pub(crate) fn whole(command: &str) -> String {
    format!("sh -c {} 2>&1", shell_quote(command))
}

/// Quotes a word for a shell.
fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A program and its arguments, quoted for a shell or for `env`.
pub(crate) fn line(argv: &[String]) -> String {
    // `env` would treat a program with `=` in its name as a variable.
    let has_sign = argv.first().is_some_and(|program| program.contains('='));
    let by_shell = has_sign.then_some("sh -c 'exec \"$0\" \"$@\"'");
    let words = argv.iter().map(|word| shell_quote(word));
    by_shell.map(str::to_owned).into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(shell_quote).collect::<Vec<_>>().join(" ")
}

/// Whether every shell exports this variable unchanged. Variables that some shell uses itself
/// (read-only, modified, or with an effect on parsing) are set by `env`; none of them holds
/// secrets.
fn is_exportable(name: &str) -> bool {
    const KEPT: &str = "_ CDPATH COLUMNS DIRSTACK ENV EUID FUNCNAME GLOBIGNORE GROUPS HISTCMD IFS LINENO \
        LINES OLDPWD OPTARG OPTERR OPTIND POSIXLY_CORRECT PPID PS4 PWD RANDOM SECONDS SHELLOPTS SHLVL UID";
    const KEPT_FAMILIES: [&str; 5] = ["BASH", "COMP_", "EPOCH", "LANG", "LC_"];
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEPT.split_whitespace().any(|kept| kept == name)
        && !KEPT_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use super::*;

    fn feed(script: &str) -> Output {
        feed_to(&["sh"], script)
    }

    fn feed_to(shell: &[&str], script: &str) -> Output {
        let mut shell = Command::new(shell[0])
            .args(&shell[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        shell.wait_with_output().unwrap()
    }

    #[test]
    fn a_whole_command_is_one_word_and_its_last_part_tells() {
        let run = |command: &str| {
            let line = whole(command);
            let step =
                Step { mark: "m".to_owned(), env: &[], prepend_path: &[], cwd: None, line: &line };
            let output = feed(&step.text());
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run("echo it\\'s >&2 || exit 1"), (Some(0), "it's\n".to_owned()));
        assert_eq!(run("true && exit 3 # no"), (Some(3), String::new()));
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// Every shell of this machine that an image of a job may have.
    fn shells() -> Vec<Vec<&'static str>> {
        let all = [vec!["sh"], vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "ash"]];
        let there = |words: &Vec<&str>| {
            Command::new(words[0]).args(&words[1..]).args(["-c", ":"]).output().is_ok()
        };
        all.into_iter().filter(there).collect()
    }

    fn argv(words: &[&str]) -> String {
        line(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    fn step<'a>(env: &'a [(String, String)], line: &'a str) -> Step<'a> {
        Step { mark: "m".to_owned(), env, prepend_path: &[], cwd: None, line }
    }

    #[test]
    fn every_name_and_value_arrives_byte_for_byte_in_every_shell() {
        let values = [
            "",
            "it's $HOME `x` \"q\" \\ \\\\ $(id)",
            " a\n\nb\r\n\tc\n",
            "über \u{1f600} \u{fffd}",
            "\u{1}\u{2}\u{7f}\u{80}\u{81}\u{85}\u{88}\u{2028}",
        ];
        let names = [
            "A",
            "INPUT_NODE-VERSION",
            "A.B",
            "with blank",
            "q'uote",
            "d\"quote",
            "$DOLLAR",
            "-x",
            "1ST",
            "über",
            "PWD",
            "UID",
            "SHLVL",
            "OPTIND",
            "LC_ALL",
            "_",
            "IFS",
            "a\nb",
            "a;b",
            "BASHOPTS",
            "SHELLOPTS",
            "PPID",
            "LINENO",
            "RANDOM",
        ];
        let program = argv(&["env", "-0"]);
        for (shell, value) in shells().iter().flat_map(|s| values.iter().map(move |v| (s, v))) {
            let env: Vec<_> = names.iter().map(|name| pair(name, value)).collect();
            let output = feed_to(shell, &step(&env, &program).text());
            let seen: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
            for (name, value) in &env {
                let wanted = format!("{name}={value}");
                assert!(seen.contains(&wanted.as_bytes()), "{shell:?}: {wanted:?}: {output:?}");
            }
        }
    }

    #[test]
    fn the_program_gets_its_words_and_no_input() {
        let path = ["/first dir".to_owned(), "/second".to_owned()];
        let script = "printf '%s|' \"$PATH\" \"$PWD\" \"$@\"; wc -c; exit 42";
        let program = argv(&["sh", "-c", script, "sh", "a 'b' $c", "", "d\ne"]);
        let env = [pair("INPUT_A-B", "1")];
        for (shell, env) in
            shells().iter().flat_map(|shell| [(shell, &env[..0]), (shell, &env[..])])
        {
            let step = Step { prepend_path: &path, cwd: Some("/tmp"), ..step(env, &program) };
            let output = feed_to(shell, &step.text());
            let text = String::from_utf8(output.stdout).unwrap();
            let wanted = "/first dir:/second:/usr/bin:/bin|/tmp|a 'b' $c||d\ne|0\n";
            assert_eq!((text.as_str(), output.status.code()), (wanted, Some(42)), "{shell:?}");
        }
    }

    #[test]
    fn secrets_of_ordinary_names_are_in_no_arguments() {
        let env = [pair("TOKEN", "hunter2"), pair("INPUT_A-B", "1")];
        let program = argv(&["true"]);
        let text = step(&env, &program).text();
        let exec = text.lines().find(|line| line.contains("exec \"$1\"")).unwrap();
        assert!(exec.contains("INPUT_A-B=1") && !exec.contains("hunter2"), "{text}");
    }

    #[test]
    fn without_env_the_step_runs_and_what_it_lacks_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/echo", directory.path().join("echo")).unwrap();
        let env = [pair("INPUT_A-B", "1")];
        let program = argv(&["echo", "ran"]);
        let text = format!("PATH={}\n{}", directory.path().display(), step(&env, &program).text());
        let output = feed(&text);
        assert_eq!(output.stdout, b"ran\n", "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("INPUT_A-B"));
    }

    #[test]
    fn a_program_with_an_equals_sign_is_no_variable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a=b");
        std::os::unix::fs::symlink("/bin/echo", &path).unwrap();
        let program = argv(&[path.to_str().unwrap(), "ran"]);
        let env = [pair("INPUT_A-B", "1")];
        assert_eq!(feed(&step(&env, &program).text()).stdout, b"ran\n");
    }

    #[test]
    fn what_cannot_run_is_a_failure() {
        let program = argv(&["true"]);
        let gone = Step { cwd: Some("/no/such"), ..step(&[], &program) };
        assert_eq!(feed(&gone.text()).status.code(), Some(126));
        for (name, env) in [("/no/such", None), ("/no/such", Some(pair("A-B", "")))] {
            let program = argv(&[name]);
            let env: Vec<_> = env.into_iter().collect();
            assert_eq!(feed(&step(&env, &program).text()).status.code(), Some(127));
        }
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
            assert!(feed(&setup(&[], &links, &[])).status.success());
        }
        assert_eq!(std::fs::read_link(&path).unwrap(), std::path::Path::new("/somewhere"));
    }
}

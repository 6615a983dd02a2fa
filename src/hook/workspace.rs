//! Prepares the runner's own files for containers that access them at other paths and as other
//! users.

mod permit;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ephemon_contract::{Link, Present, mount};

use super::settings::Settings;
use permit::Held;

/// Directories below `_work` to which steps of any user write. The runner creates them with mode
/// 0755 for itself (actions/runner 2.336, `TempDirectoryManager.cs`, `JobRunner.cs`,
/// `ContainerOperationProvider.cs`). They get no sticky bit: with it, kernels deny even root access
/// to files and links of other users (`fs.protected_regular`, `fs.protected_symlinks`).
const SHARED: [&str; 3] = ["_temp", "_temp/_github_home", "_tool"];
/// The files of workflow commands, which the runner creates with mode 0644 for every step
/// (actions/runner#3290).
const COMMANDS: &str = "_temp/_runner_file_commands";
/// Most such files that are changed; the runner creates about six for each running step.
const MAX_COMMANDS: usize = 4096;

/// Number of configuration entries that git reads from the environment.
const GIT_CONFIG_COUNT: &str = "GIT_CONFIG_COUNT";

/// Lets every user of a container write to the workspace, `RUNNER_TEMP`, HOME, the tool cache and
/// the files of workflow commands. At every call, because the runner and steps create some of them
/// again.
pub(super) fn open_to_all(settings: &Settings) {
    let Some(root) = settings.work.as_deref().and_then(Held::root) else { return };
    let workspace = settings.workspace.as_deref().zip(settings.work.as_deref());
    let workspace = workspace.and_then(|(path, work)| path.strip_prefix(work).ok());
    let shared = SHARED.iter().map(Path::new).chain(workspace).chain([Path::new(COMMANDS)]);
    for directory in shared.filter(|path| *path != Path::new("")) {
        if let Some(held) = root.directory(directory) {
            held.permit(0o777);
        }
    }
    let Some(commands) = root.directory(Path::new(COMMANDS)) else { return };
    for file in commands.files(MAX_COMMANDS) {
        file.permit(0o666);
    }
}

/// Lets git work in the workspace of a container action. For the action `/github/workspace` is a
/// link, but git sees the directory behind it, and before version 2.46 compares its path literally
/// with `safe.directory`. The entry is added to those that the step already has (git-config(1),
/// `GIT_CONFIG_COUNT`).
pub(super) fn let_git_work(env: &mut Vec<(String, String)>, settings: &Settings) {
    let workspace = settings.workspace.as_deref().and_then(|path| settings.in_container(path));
    let Some(workspace) = workspace else { return };
    let count = env.iter().find(|(name, _)| name == GIT_CONFIG_COUNT).map(|(_, count)| count);
    let Ok(count) = count.map_or(Ok(0), |count| count.trim().parse::<u32>()) else {
        // Git itself reports what is wrong.
        return;
    };
    let own = [
        (format!("GIT_CONFIG_KEY_{count}"), "safe.directory".to_owned()),
        (format!("GIT_CONFIG_VALUE_{count}"), workspace),
        (GIT_CONFIG_COUNT.to_owned(), count.saturating_add(1).to_string()),
    ];
    env.retain(|(name, _)| own.iter().all(|(ours, _)| ours != name));
    env.extend(own);
}

/// `/github/*`: links into the work volume, because parts of a volume cannot be mounted.
pub(super) fn links(settings: &Settings) -> Vec<Link> {
    let mut links: Vec<Link> = mount::GITHUB_LINKS
        .iter()
        .map(|(name, target)| link(name, format!("{}/{target}", mount::WORK)))
        .collect();
    let workspace = settings.workspace.as_deref().and_then(|path| settings.in_container(path));
    links.extend(workspace.map(|target| link("workspace", target)));
    links
}

fn link(name: &str, target: String) -> Link {
    Link { path: format!("{}/{name}", mount::GITHUB), target, present: Present::Refuse }
}

/// Creates the links from the runner's own container, if the volume is mounted there, too: for
/// containers without init in a job without a job container.
pub(super) fn link_from_here(links: &[Link]) {
    for link in links {
        let path = Path::new(&link.path);
        let right = fs::read_link(path).is_ok_and(|target| target == Path::new(&link.target));
        if !right && path.parent().is_some_and(Path::is_dir) {
            // If the volume is not mounted here, neither operation is possible or needed.
            drop(fs::remove_file(path));
            drop(symlink(&link.target, path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(work: &Path) -> Settings {
        let work = work.to_str().unwrap().to_owned();
        Settings::from_env(|name| match name {
            "RUNNER_TEMP" => Some(format!("{work}/_temp")),
            "GITHUB_WORKSPACE" => Some(format!("{work}/r/r")),
            _ => None,
        })
    }

    /// As the runner creates it: owned by itself, with modes 0755 and 0644.
    fn work() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in ["_temp/_github_home", "_temp/_github_workflow", COMMANDS, "_tool", "r/r"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("_temp/step.sh"), "").unwrap();
        directory
    }

    fn mode(path: impl AsRef<Path>) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_steps_write_to_is_opened_and_nothing_else() {
        let work = work();
        let at = |name: &str| work.path().join(name);
        for name in ["r", "r/r", "_temp", "_temp/_github_workflow", "_tool"] {
            set_mode(at(name), 0o755);
        }
        let commands = ["set_output_1", "set_env_1"].map(|name| at(COMMANDS).join(name));
        for path in commands.iter().chain([&at("_temp/step.sh")]) {
            fs::write(path, "").unwrap();
            set_mode(path, 0o600);
        }
        open_to_all(&settings(work.path()));
        for name in ["r/r", "_temp", "_temp/_github_home", COMMANDS, "_tool"] {
            assert_eq!(mode(at(name)), 0o777, "{name}");
        }
        for name in ["r", "_temp/_github_workflow"] {
            assert_eq!(mode(at(name)), 0o755, "{name}");
        }
        assert_eq!(commands.map(mode), [0o666, 0o666]);
        assert_eq!(mode(at("_temp/step.sh")), 0o600);
    }

    /// What a job can put in place of each directory, and of a file of commands.
    #[test]
    fn links_of_a_job_lead_the_hook_nowhere() {
        let runners = tempfile::tempdir().unwrap();
        let (secret, file) = (runners.path().join("secret"), runners.path().join("file"));
        fs::create_dir_all(secret.join("_github_home")).unwrap();
        fs::create_dir_all(secret.join("_runner_file_commands")).unwrap();
        fs::create_dir_all(secret.join("r")).unwrap();
        fs::write(&file, "").unwrap();
        let inner =
            ["", "_github_home", "_runner_file_commands", "r"].map(|name| secret.join(name));
        for place in ["_temp", "_temp/_github_home", COMMANDS, "_tool", "r", "r/r"] {
            let work = work();
            for path in &inner {
                set_mode(path, 0o700);
            }
            set_mode(&file, 0o600);
            fs::remove_dir_all(work.path().join(place)).unwrap();
            symlink(&secret, work.path().join(place)).unwrap();
            open_to_all(&settings(work.path()));
            assert!(inner.iter().all(|path| mode(path) == 0o700), "{place}");
        }
        let work = work();
        let commands = work.path().join(COMMANDS);
        symlink(&file, commands.join("a_link")).unwrap();
        fs::hard_link(&file, commands.join("a_second_name")).unwrap();
        fs::create_dir(commands.join("a_directory")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            commands.join("a_pipe"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        for name in ["a_directory", "a_pipe"] {
            set_mode(commands.join(name), 0o700);
        }
        open_to_all(&settings(work.path()));
        assert_eq!(mode(&file), 0o600);
        assert_eq!(["a_directory", "a_pipe"].map(|name| mode(commands.join(name))), [0o700; 2]);
    }

    #[test]
    fn git_gets_one_pair_more_than_the_step_has() {
        let settings = settings(Path::new("/home/runner/_work"));
        let of = |given: &[(&str, &str)]| {
            let mut env: Vec<(String, String)> =
                given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let_git_work(&mut env, &settings);
            env.into_iter().collect::<std::collections::BTreeMap<_, _>>()
        };
        let plain = of(&[("A", "b")]);
        assert_eq!((plain["GIT_CONFIG_COUNT"].as_str(), plain["A"].as_str()), ("1", "b"));
        assert_eq!(plain["GIT_CONFIG_KEY_0"], "safe.directory");
        assert_eq!(plain["GIT_CONFIG_VALUE_0"], "/__w/r/r");
        let given = [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "a.b"),
            ("GIT_CONFIG_VALUE_0", "c"),
            ("GIT_CONFIG_KEY_1", "stale"),
        ];
        let more = of(&given);
        assert_eq!(
            (more["GIT_CONFIG_COUNT"].as_str(), more["GIT_CONFIG_VALUE_0"].as_str()),
            ("2", "c")
        );
        assert_eq!((more["GIT_CONFIG_KEY_1"].as_str(), more.len()), ("safe.directory", 5));
        let broken = of(&[("GIT_CONFIG_COUNT", "many")]);
        assert_eq!((broken["GIT_CONFIG_COUNT"].as_str(), broken.len()), ("many", 1));
        let mut env = Vec::new();
        let_git_work(&mut env, &Settings::from_env(|_| None));
        assert!(env.is_empty());
    }

    #[test]
    fn the_workspace_link_goes_where_the_job_is() {
        let settings = Settings::from_env(|name| match name {
            "RUNNER_TEMP" => Some("/home/runner/_work/_temp".to_owned()),
            "GITHUB_WORKSPACE" => Some("/home/runner/_work/r/r".to_owned()),
            _ => None,
        });
        let links = links(&settings);
        let target = |path: &str| {
            links.iter().find(|link| link.path == path).map(|link| link.target.as_str())
        };
        assert_eq!(target("/github/workspace"), Some("/__w/r/r"));
        assert_eq!(target("/github/home"), Some("/__w/_temp/_github_home"));
    }
}

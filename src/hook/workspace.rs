//! The runner's own files, made fit for containers that see them by other paths and as other
//! users.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fchmod, fstat, openat};

use super::settings::Settings;
use crate::contract::{Link, mount};

/// Directories below `_temp` that actions write to, whoever they are.
const SHARED: [&str; 3] = ["_github_home", "_github_workflow", "_runner_file_commands"];

/// Lets every user of a container write to the files of workflow commands: the runner makes them
/// with mode 0644 for itself (actions/runner#3290).
pub(super) fn open_to_all(settings: &Settings) {
    let Some(work) = &settings.work else { return };
    for name in SHARED {
        let directory = work.join("_temp").join(name);
        let Ok(held) = open(CWD, &directory, OFlags::DIRECTORY) else { continue };
        permit(&held, 0o777);
        if name != "_runner_file_commands" {
            continue;
        }
        for entry in Dir::read_from(&held).into_iter().flatten().flatten() {
            if let Ok(file) = open(&held, entry.file_name(), OFlags::NONBLOCK)
                && fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
            {
                permit(&file, 0o666);
            }
        }
    }
}

/// Opens no link: a job can put one in the place of a file, to files of the runner.
fn open(at: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// What is the runner's can be changed; what a container made as root is open or is its own
/// business.
fn permit(file: &OwnedFd, mode: u32) {
    if fstat(file).is_ok_and(|stat| stat.st_mode & mode != mode) {
        fchmod(file, Mode::from_raw_mode(mode)).ok();
    }
}

/// `/github/*`: links into the work volume, for there is no mounting of parts of a volume.
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
    Link { path: format!("{}/{name}", mount::GITHUB), target }
}

/// Makes the links from the runner's own container, where the volume is mounted there too: for
/// containers without an init in a job without a job container.
pub(super) fn link_from_here(links: &[Link]) {
    for link in links {
        let path = Path::new(&link.path);
        let right = fs::read_link(path).is_ok_and(|target| target == Path::new(&link.target));
        if !right && path.parent().is_some_and(Path::is_dir) {
            // Where the volume is not mounted here, neither can be done nor matters.
            drop(fs::remove_file(path));
            drop(symlink(&link.target, path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn command_files_are_opened_to_all_and_links_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let temp = directory.path().join("_temp");
        let commands = temp.join("_runner_file_commands");
        fs::create_dir_all(&commands).unwrap();
        let (file, victim) = (commands.join("set_output_1"), directory.path().join("victim"));
        for path in [&file, &victim] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        symlink(&victim, commands.join("set_env_1")).unwrap();
        let temp = temp.to_str().unwrap().to_owned();
        open_to_all(&Settings::from_env(|name| (name == "RUNNER_TEMP").then(|| temp.clone())));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&commands), mode(&victim)), (0o666, 0o777, 0o600));
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

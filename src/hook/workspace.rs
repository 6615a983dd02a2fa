//! The runner's own files, made fit for containers that see them by other paths and as other
//! users.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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
        // A job can put a link in its place, to files of the runner.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY;
        let flags = flags | rustix::fs::OFlags::CLOEXEC;
        let Ok(held) = rustix::fs::open(&directory, flags, rustix::fs::Mode::empty()) else {
            continue;
        };
        let directory = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        // What is not ours is open, or is its owner's business.
        rustix::fs::fchmod(&held, rustix::fs::Mode::from_raw_mode(0o777)).ok();
        if name == "_runner_file_commands" {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    permit(&entry.path(), 0o666);
                }
            }
        }
    }
}

/// What is the runner's can be changed; what a container made as root is open or is its own
/// business.
fn permit(path: &Path, mode: u32) {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = fs::OpenOptions::new()
        .read(true)
        // A job can put a link in the place of a file.
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    if let Ok(file) = file
        && file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & mode != mode)
    {
        drop(file.set_permissions(fs::Permissions::from_mode(mode)));
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

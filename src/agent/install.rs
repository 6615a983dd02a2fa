//! `ephemon install DIRECTORY`: copies the hook's programs into the volume that the runner and its
//! containers share. Runs as an init container of the runner's pod, in an image that contains only
//! these programs, so it needs no shell and copies the files of its own directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ephemon_contract::Volume;
use ephemon_mask::shared::DIRECTORY_MODE;
use rustix::process::getegid;

/// The programs in the same directory as this one.
const PROGRAMS: [&str; 2] = ["ephemon-hook", "ephemon-init"];
/// What the runner is configured to start, because it accepts only scripts with an interpreter: the
/// first one, or the third one where Node.js cannot be used, and the last one after a job. The second is
/// what Node.js looks for beside a script; if it were missing, Node.js would search the directories
/// above, to which jobs can write.
const SCRIPTS: [(&str, &[u8]); 4] = [
    ("hook.js", include_bytes!("../../deploy/hook.js")),
    ("package.json", include_bytes!("../../deploy/hook.package.json")),
    ("hook.sh", include_bytes!("../../deploy/hook.sh")),
    ("summary.js", include_bytes!("../../deploy/summary.js")),
];
/// Mode of programs: every user of every container can run them.
const RUNNABLE: u32 = 0o755;
/// Mode of directories to which every container writes.
const SHARED: u32 = 0o1777;

/// Install the hook's programs into the volume that a runner shares with its containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the volume `ephemon` is mounted; programs go into its `bin`
    #[arg(value_name = "DIRECTORY", default_value = ephemon_contract::mount::EPHEMON)]
    directory: PathBuf,
}

/// Why the programs are not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// This program's own path is unknown.
    #[error("cannot find this program's own file: {0}; is /proc mounted?")]
    Unknown(io::Error),
    /// A program that should be in the same directory is missing or unreadable.
    #[error(
        "cannot read {path}: {source}; the programs ephemon, ephemon-hook and ephemon-init must be in one directory of the image"
    )]
    Neighbour {
        /// Its expected path.
        path: PathBuf,
        source: io::Error,
    },
    /// A file or directory in the volume cannot be written.
    #[error("cannot {act} {path}: {source}{}", advice(.source))]
    Volume {
        /// The action that failed.
        act: &'static str,
        /// The path.
        path: PathBuf,
        source: io::Error,
    },
}

/// Installs the programs, and returns a sentence that says where they are.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let own = std::env::current_exe().map_err(Error::Unknown)?;
    let volume = Volume::new(&args.directory);
    install(own.parent().unwrap_or(Path::new("/")), &volume)?;
    Ok(format!(
        "{} is ready: {}, {}, {}",
        volume.bin().display(),
        SCRIPTS[0].0,
        PROGRAMS[0],
        PROGRAMS[1]
    ))
}

/// Copies the programs from their directory into the volume. Safe to repeat: a program that is
/// already running is replaced by a rename, and the running process keeps the old file.
fn install(from: &Path, volume: &Volume) -> Result<(), Error> {
    let failed = |act, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Volume { act, path, source }
    };
    for (directory, mode) in [
        (volume.bin(), RUNNABLE),
        (volume.run(), SHARED),
        (volume.journal(), SHARED),
        (volume.masks(), DIRECTORY_MODE),
    ] {
        fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        if directory == volume.masks() {
            // In a volume with an fsGroup the directory would have that group. If changing the
            // group is not permitted, the agent logs that it cannot read the directory.
            chown(&directory, None, Some(getegid().as_raw())).ok();
        }
        // In a second call, because the umask applies to the first.
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(&directory, permissions)
            .map_err(failed("change the mode of", &directory))?;
    }
    // Otherwise a container could replace these directories by its own. If the volume's root cannot
    // be changed, the agent detects it when it reads values to mask.
    if let Ok(root) = fs::metadata(volume.root()) {
        let mode = root.permissions().mode() & !0o022;
        fs::set_permissions(volume.root(), Permissions::from_mode(mode)).ok();
    }
    for name in PROGRAMS {
        let path = from.join(name);
        let mut program = File::open(&path).map_err(|source| Error::Neighbour { path, source })?;
        put(&volume.bin().join(name), &mut program)?;
    }
    for (name, mut text) in SCRIPTS {
        put(&volume.bin().join(name), &mut text)?;
    }
    // The directory entries must survive a node failure, too, as the file contents do.
    let bin = volume.bin();
    File::open(&bin).and_then(|bin| bin.sync_all()).map_err(failed("write", &bin))
}

/// Writes a temporary file and renames it, so that no process ever sees a partial file.
fn put(path: &Path, from: &mut impl io::Read) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let failed = |source| Error::Volume { act: "write", path: path.to_owned(), source };
    let written = (|| {
        remove(&beside)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(RUNNABLE).open(&beside)?;
        io::copy(from, &mut file)?;
        file.set_permissions(Permissions::from_mode(RUNNABLE))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.map_err(|error| {
        // A partial file only takes up space.
        drop(remove(&beside));
        failed(error)
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The remedy for common causes.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; mount the volume `ephemon` there as writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the programs need 32 MiB: raise the sizeLimit of the volume `ephemon`"
        }
        io::ErrorKind::PermissionDenied => {
            "; run the init container as root, or as the group that the pod's fsGroup names"
        }
        io::ErrorKind::NotADirectory => "; give the directory where the volume is mounted",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> tempfile::TempDir {
        let from = tempfile::tempdir().unwrap();
        for name in PROGRAMS {
            fs::write(from.path().join(name), name).unwrap();
        }
        from
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn programs_and_directories_are_there_for_everyone() {
        let (from, to) = (programs(), tempfile::tempdir().unwrap());
        let volume = Volume::new(to.path().join("not/yet"));
        install(from.path(), &volume).unwrap();
        for name in PROGRAMS.into_iter().chain(SCRIPTS.map(|(name, _)| name)) {
            assert_eq!(mode(&volume.bin().join(name)), 0o755, "{name}");
        }
        assert_eq!((mode(&volume.run()), mode(&volume.journal())), (0o1777, 0o1777));
        assert_eq!(mode(&volume.masks()), 0o3753);
        assert_eq!(mode(volume.root()) & 0o022, 0, "nobody puts others in their place");
        assert_eq!(fs::read(volume.init()).unwrap(), b"ephemon-init");
    }

    #[test]
    fn a_second_time_replaces_what_is_there_even_while_it_runs() {
        let (from, to) = (programs(), tempfile::tempdir().unwrap());
        let volume = Volume::new(to.path());
        install(from.path(), &volume).unwrap();
        let running = File::open(volume.init()).unwrap();
        fs::write(volume.init().with_extension("new"), "left by one that was killed").unwrap();
        fs::write(from.path().join("ephemon-init"), "newer").unwrap();
        install(from.path(), &volume).unwrap();
        assert_eq!(fs::read(volume.init()).unwrap(), b"newer");
        assert_eq!(io::read_to_string(running).unwrap(), "ephemon-init");
        let left = fs::read_dir(volume.bin()).unwrap().count();
        assert_eq!(left, PROGRAMS.len() + SCRIPTS.len());
    }

    #[test]
    fn what_is_missing_or_in_the_way_is_named() {
        let (from, to) = (programs(), tempfile::tempdir().unwrap());
        fs::remove_file(from.path().join("ephemon-init")).unwrap();
        let error = install(from.path(), &Volume::new(to.path())).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("ephemon-init: "), "{error}");
        let file = to.path().join("file");
        fs::write(&file, "").unwrap();
        let error = install(from.path(), &Volume::new(&file)).unwrap_err().to_string();
        assert!(
            error.contains("cannot create") && error.contains("where the volume is"),
            "{error}"
        );
    }
}

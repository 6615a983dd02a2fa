//! `ephemon install DIRECTORY`: puts the programs of the hook into the volume that the runner and
//! its containers share. Runs as an init container of the runner's pod, in an image of nothing but
//! these programs: it needs no shell, and copies what lies beside it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ephemon_contract::Volume;
use ephemon_mask::shared::DIRECTORY_MODE;
use rustix::process::getegid;

/// The programs that lie beside this one.
const PROGRAMS: [&str; 2] = ["ephemon-hook", "ephemon-init"];
/// What the runner is told to start, for it takes no program without an interpreter: the first one,
/// or the last where Node.js cannot be used. Between them what Node.js looks for beside a script,
/// and above it where there is none: in directories that jobs can write to.
const SCRIPTS: [(&str, &[u8]); 3] = [
    ("hook.js", include_bytes!("../../deploy/hook.js")),
    ("package.json", include_bytes!("../../deploy/hook.package.json")),
    ("hook.sh", include_bytes!("../../deploy/hook.sh")),
];
/// Of programs: for every user of every container.
const RUNNABLE: u32 = 0o755;
/// Of directories that every container writes to.
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
    /// We do not know where we are.
    #[error("cannot find this program's own file: {0}; is /proc mounted?")]
    Unknown(io::Error),
    /// A program that should be beside this one.
    #[error(
        "{path} cannot be read: {source}; the programs ephemon, ephemon-hook and ephemon-init belong into one directory of the image"
    )]
    Neighbour {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory does not take it.
    #[error("cannot {act} {path}: {source}{}", advice(.source))]
    Volume {
        /// What failed.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Installs, and says what is where.
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

/// From the directory of the programs into the volume. Done twice it has the effect of once; a
/// program that runs already is replaced by rename and runs on.
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
        fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
        if directory == volume.masks() {
            // Of a volume with an fsGroup it would have that one. Its own group is not always
            // another's to give: then the agent says that it cannot read.
            chown(&directory, None, Some(getegid().as_raw())).ok();
        }
        // By a second call: the first is subject to the umask.
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(&directory, permissions).map_err(failed("open", &directory))?;
    }
    // Else a container could put directories of its own in the place of these. Where the volume is not
    // ours to change, the agent notices it for the values to mask.
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
    // So that the names outlive a node that fails, as the contents do.
    let bin = volume.bin();
    File::open(&bin).and_then(|bin| bin.sync_all()).map_err(failed("write", &bin))
}

/// Writes a file beside its place and moves it there: nobody ever sees half of it.
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
        // What is half there only takes room.
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

/// What to do about the usual causes.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; mount the volume `ephemon` there, not read only",
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
        assert!(error.contains("ephemon-init cannot be read"), "{error}");
        let file = to.path().join("file");
        fs::write(&file, "").unwrap();
        let error = install(from.path(), &Volume::new(&file)).unwrap_err().to_string();
        assert!(error.contains("cannot make") && error.contains("where the volume is"), "{error}");
    }
}

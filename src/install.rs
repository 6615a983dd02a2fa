//! `ephemon install`: puts the hook's programs into the volume that the runner's pod shares with its
//! ephemeral containers. For an init container: it needs no shell and nothing of its image.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::contract::Volume;

/// Programs that lie beside this one.
const PROGRAMS: [&str; 2] = ["ephemon-hook", "ephemon-init"];
/// What the runner starts: it takes no other kind of file.
const SCRIPT: (&str, &str) = ("hook.sh", include_str!("../deploy/hook.sh"));
/// Open to every user, who may remove what is their own: containers run as any.
const SHARED: u32 = 0o1777;
/// Programs, for everybody.
const PROGRAM: u32 = 0o755;

/// Copy the container hook's programs into the volume of a runner's pod
///
/// Makes DIRECTORY/bin with hook.sh, ephemon-hook and ephemon-init (which must lie beside this
/// program), and DIRECTORY/run and DIRECTORY/journal, which every container can write to. What is
/// there is replaced; a program that runs is not disturbed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the volume is mounted
    #[arg(default_value = "/ephemon")]
    pub directory: PathBuf,
}

/// Why nothing, or not all, was installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This program's own place is not known.
    #[error("cannot find this program's own file: {0}")]
    Own(io::Error),
    /// A program is not where it should be.
    #[error(
        "{name} is not beside this program in {}; build all programs (cargo build --release), or take ephemon's image", directory.display()
    )]
    Missing {
        /// Which.
        name: &'static str,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file or directory could not be made.
    #[error("cannot {act} {}: {source}{}", path.display(), hint(.source.kind()))]
    Io {
        /// `make`, `write`, `read`.
        act: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Installs.
pub fn run(args: &Args) -> Result<(), Error> {
    let own = std::env::current_exe().map_err(Error::Own)?;
    let home = own.parent().unwrap_or(Path::new("/"));
    install(home, &Volume::new(&args.directory))
}

fn install(home: &Path, volume: &Volume) -> Result<(), Error> {
    // All of them, or none: a hook without an init would fail in the middle of a job.
    for name in PROGRAMS {
        if !home.join(name).is_file() {
            return Err(Error::Missing { name, directory: home.to_owned() });
        }
    }
    make(&volume.bin(), PROGRAM)?;
    for directory in [volume.run(), volume.journal()] {
        make(&directory, SHARED)?;
    }
    for name in PROGRAMS {
        let path = home.join(name);
        let mut from = File::open(&path).map_err(failed("read", &path))?;
        place(&volume.bin(), name, |to| io::copy(&mut from, to).map(drop))?;
    }
    let (name, text) = SCRIPT;
    place(&volume.bin(), name, |to| to.write_all(text.as_bytes()))
}

fn make(directory: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(directory, permissions).map_err(failed("open to all", directory))
}

/// Writes a program beside its place and moves it there: nobody sees half of it.
fn place(
    directory: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let path = directory.join(name);
    let beside = directory.join(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PROGRAM)
        .open(&beside)
        .and_then(|mut file| {
            write(&mut file)?;
            // Whatever the umask had to say.
            file.set_permissions(Permissions::from_mode(PROGRAM))?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &path));
    written.map_err(|source| {
        // What is left of it is of no use to anybody.
        drop(fs::remove_file(&beside));
        Error::Io { act: "write", path, source }
    })
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { act, path, source }
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ReadOnlyFilesystem => "; mount the volume writable in this container",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the volume needs about 20 MB: raise its sizeLimit, or make room on the node"
        }
        io::ErrorKind::PermissionDenied => {
            "; run this container as the volume's owner, or set fsGroup in the pod's securityContext"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(names: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(home.path().join(name), format!("the {name}")).unwrap();
        }
        home
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn programs_and_directories_are_there_with_their_modes_however_often() {
        let (home, volume) = (home(&PROGRAMS), tempfile::tempdir().unwrap());
        let volume = Volume::new(volume.path().join("ephemon"));
        for _ in 0..2 {
            install(home.path(), &volume).unwrap();
            assert_eq!(fs::read_to_string(volume.init()).unwrap(), "the ephemon-init");
            assert!(fs::read_to_string(volume.bin().join("hook.sh")).unwrap().contains("exec"));
            for name in ["ephemon-hook", "ephemon-init", "hook.sh"] {
                assert_eq!(mode(&volume.bin().join(name)), 0o755, "{name}");
            }
            assert_eq!((mode(&volume.run()), mode(&volume.journal())), (0o1777, 0o1777));
            assert_eq!(fs::read_dir(volume.bin()).unwrap().count(), 3, "nothing else is left");
        }
    }

    #[test]
    fn a_missing_neighbour_is_named_before_anything_is_written() {
        let (home, volume) = (home(&["ephemon-hook"]), tempfile::tempdir().unwrap());
        let error = install(home.path(), &Volume::new(volume.path())).unwrap_err().to_string();
        assert!(error.contains("ephemon-init is not beside"), "{error}");
        assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_named_with_what_to_do() {
        let home = home(&PROGRAMS);
        let file = home.path().join("ephemon-hook/x");
        let error = install(home.path(), &Volume::new(&file)).unwrap_err().to_string();
        assert!(error.contains("cannot make") && error.contains("/x/bin"), "{error}");
        assert!(hint(io::ErrorKind::StorageFull).contains("sizeLimit"));
        assert!(hint(io::ErrorKind::ReadOnlyFilesystem).contains("writable"));
    }
}

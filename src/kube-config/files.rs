//! Which kubeconfig files are read, and what they say together: one that is named, which must be
//! there, or those that the variable `KUBECONFIG` lists, of which some may be missing (client-go,
//! `tools/clientcmd/loader.go`, `ClientConfigLoadingRules.Load`).

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use super::Error;

/// Kubeconfig files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Files {
    /// A file; a `:` is a part of its name.
    One(PathBuf),
    /// Files separated by `:`.
    Listed(PathBuf),
}

// === impl Files ===

impl Files {
    /// The file that is named, else those of the variable, which counts as not set if it is empty.
    pub(super) fn chosen(named: Option<&Path>, variable: Option<OsString>) -> Option<Self> {
        let listed = || variable.filter(|list| !list.is_empty()).map(PathBuf::from);
        named.map(|path| Self::One(path.to_owned())).or_else(|| listed().map(Self::Listed))
    }

    /// As messages show it.
    pub(super) fn path(&self) -> &Path {
        let (Self::One(path) | Self::Listed(path)) = self;
        path
    }

    /// None of the files is there.
    pub(super) fn missing(&self) -> Error {
        Error::Missing { path: self.path().to_owned() }
    }

    /// A file that is there cannot be used.
    pub(super) fn failed(&self, source: KubeconfigError) -> Error {
        Error::Kubeconfig { path: self.path().to_owned(), source: Box::new(source) }
    }

    /// Merges the files that are there; for each setting the first file that has it counts, as for
    /// kubectl. `None` if there is no file.
    ///
    /// # Errors
    /// If a file that is there cannot be used.
    pub(super) fn read(&self) -> Result<Option<Kubeconfig>, Error> {
        let paths = match self {
            Self::One(path) => vec![path.clone()],
            Self::Listed(list) => std::env::split_paths(list).collect(),
        };
        let mut found: Option<Kubeconfig> = None;
        for path in paths.iter().filter(|path| !path.as_os_str().is_empty()) {
            let mut next = match Kubeconfig::read_from(path) {
                Err(KubeconfigError::ReadConfig(error, _))
                    if error.kind() == ErrorKind::NotFound =>
                {
                    continue;
                }
                read => read.map_err(|error| self.failed(error))?,
            };
            // To kube an empty name is a name; to client-go the context is then not set.
            next.current_context = next.current_context.filter(|name| !name.is_empty());
            let merged = found.take().unwrap_or_default().merge(next);
            found = Some(merged.map_err(|error| self.failed(error))?);
        }
        Ok(found)
    }
}

//! How agent, hook and client are configured to reach the API server: by kubeconfig files, else by
//! the pod's service account; agent and hook never through a proxy. Time limits and clients are the
//! callers'.

mod files;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

use files::Files;

/// A syntactically valid proxy URL that no cluster has; see [`take_proxies`].
const UNUSED_PROXY: &str = "http://unused.invalid";

/// What becomes of a cluster's `proxy-url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proxies {
    /// It is an error.
    Refused,
    /// The caller uses it.
    Kept,
}

/// The configuration is missing or wrong. No message contains a token, a key or a proxy's password.
#[derive(Debug, Error)]
pub enum Error {
    /// No kubeconfig is given, and the program does not run in a pod with a service account.
    #[error("this is not a pod with a service account ({source}), and no kubeconfig is given")]
    NotInCluster {
        /// What is missing.
        source: Box<InClusterError>,
    },
    /// No file is at the path, or at none of several.
    #[error("there is no kubeconfig {}", path.display())]
    Missing {
        /// The file, or several files separated by `:`.
        path: PathBuf,
    },
    /// A context is chosen where there is no kubeconfig to have it.
    #[error(
        "there is no context {context:?}: no kubeconfig is found, and the service account of a pod has no \
         contexts"
    )]
    NoContexts {
        /// Its name.
        context: String,
    },
    /// A kubeconfig file cannot be read or is not valid.
    #[error("cannot use kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file, or several files separated by `:`.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// The kubeconfig sets a proxy for the cluster that it selects.
    #[error(
        "kubeconfig {} sets `proxy-url` for the cluster {cluster}, but ephemon connects to the API server \
         directly only; remove `proxy-url`",
        path.display()
    )]
    Proxy {
        /// The file, or several files separated by `:`.
        path: PathBuf,
        /// The cluster's name in the kubeconfig.
        cluster: String,
    },
}

/// Loads the configuration from the file `kubeconfig`, else from the files of the variable
/// `KUBECONFIG`, else from the service account of the pod. Of the variable's files some may be missing.
///
/// # Errors
/// If none of them is there, a file cannot be used, or the selected cluster sets `proxy-url`.
pub async fn load(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    match Files::chosen(kubeconfig, variable()) {
        Some(files) => {
            let config = from_files(&files, None, Proxies::Refused).await?;
            config.ok_or_else(|| files.missing())
        }
        None => of_pod(None),
    }
}

/// Loads the configuration as kubectl does for a person: from the file `kubeconfig`, else from the
/// files of the variable `KUBECONFIG`, else from `~/.kube/config`, else from the service account of the
/// pod; and of it `context`, else the current one. Files of the variable that are missing are passed
/// over.
///
/// `Config::proxy_url` is the cluster's `proxy-url`, and never from the environment: which variables
/// count, and how to connect, is the caller's to say.
///
/// # Errors
/// If no configuration is there, a file cannot be used, or there is no such context.
pub async fn load_as_kubectl(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Config, Error> {
    let of_home = || {
        let path = std::env::home_dir()?.join(".kube/config");
        path.is_file().then_some(Files::One(path))
    };
    let Some(files) = Files::chosen(kubeconfig, variable()).or_else(of_home) else {
        return of_pod(context);
    };
    match (from_files(&files, context, Proxies::Kept).await?, &files) {
        (Some(config), _) => Ok(config),
        (None, Files::One(_)) => Err(files.missing()),
        (None, Files::Listed(_)) => of_pod(context).map_err(|error| match error {
            Error::NotInCluster { .. } => files.missing(),
            other => other,
        }),
    }
}

fn variable() -> Option<OsString> {
    std::env::var_os("KUBECONFIG")
}

/// From the service account, which has no contexts to choose from.
fn of_pod(context: Option<&str>) -> Result<Config, Error> {
    match context {
        Some(context) => Err(Error::NoContexts { context: context.to_owned() }),
        None => {
            Config::incluster().map_err(|source| Error::NotInCluster { source: Box::new(source) })
        }
    }
}

/// `None` if there is no file.
async fn from_files(
    files: &Files,
    context: Option<&str>,
    proxies: Proxies,
) -> Result<Option<Config>, Error> {
    let Some(mut merged) = files.read()? else { return Ok(None) };
    if let Some(context) = context {
        merged.current_context = Some(context.to_owned());
    }
    let proxy = take_proxies(&mut merged);
    if let (Some((cluster, _)), Proxies::Refused) = (&proxy, proxies) {
        return Err(Error::Proxy { path: files.path().to_owned(), cluster: cluster.clone() });
    }
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| files.failed(error))?;
    let parsed = proxy.map(|(_, url)| url.parse().map_err(KubeconfigError::ParseProxyUrl));
    config.proxy_url = parsed.transpose().map_err(|error| files.failed(error))?;
    Ok(Some(config))
}

/// Keeps kube from reading `HTTPS_PROXY`, which it does for a cluster without `proxy-url`. As kube
/// is built here without support for proxies, the client would then refuse to connect.
///
/// If the selected cluster itself sets `proxy-url`: its name, and the URL.
fn take_proxies(kubeconfig: &mut Kubeconfig) -> Option<(String, String)> {
    let selected = kubeconfig.current_context.as_ref().and_then(|current| {
        let named = kubeconfig.contexts.iter().find(|named| named.name == *current)?;
        named.context.as_ref().map(|context| context.cluster.clone())
    });
    let mut proxy = None;
    for named in &mut kubeconfig.clusters {
        let Some(cluster) = named.cluster.as_mut() else { continue };
        let url = cluster.proxy_url.replace(UNUSED_PROXY.to_owned()).filter(|url| !url.is_empty());
        if Some(&named.name) == selected.as_ref() {
            proxy = url.map(|url| (named.name.clone(), url));
        }
    }
    proxy
}

#[cfg(test)]
mod tests;

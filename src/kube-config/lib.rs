//! How agent, hook and client are configured to reach the API server: by kubeconfig files, else by
//! the pod's service account; agent and hook never through a proxy. Time limits and clients are the
//! callers'.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

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

/// Loads the configuration from `kubeconfig`, which may list several files separated by `:` as the
/// variable `KUBECONFIG` does, or else from the service account of the pod. Of several files some may
/// be missing.
///
/// # Errors
/// If neither is there, a file cannot be used, or the selected cluster sets `proxy-url`.
pub async fn load(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    match kubeconfig {
        Some(path) => {
            let config = from_files(path, None, Proxies::Refused).await?;
            config.ok_or_else(|| Error::Missing { path: path.to_owned() })
        }
        None => {
            Config::incluster().map_err(|source| Error::NotInCluster { source: Box::new(source) })
        }
    }
}

/// Loads the configuration as kubectl does for a person: from `kubeconfig`, else from the files of
/// the variable `KUBECONFIG`, else from `~/.kube/config`, else from the service account of the pod;
/// and of it `context`, else the current one. Files of the variable that are missing are passed over
/// (client-go, `tools/clientcmd/loader.go`, `ClientConfigLoadingRules.Load`).
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
    let of_variable =
        || std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_home = || {
        let path = std::env::home_dir()?.join(".kube/config");
        path.is_file().then_some(path)
    };
    let missing = |path: &Path| Error::Missing { path: path.to_owned() };
    if let Some(path) = kubeconfig {
        return from_files(path, context, Proxies::Kept).await?.ok_or_else(|| missing(path));
    }
    let Some(path) = of_variable().or_else(of_home) else { return of_pod(context).await };
    match from_files(&path, context, Proxies::Kept).await? {
        Some(config) => Ok(config),
        None => of_pod(context).await.map_err(|error| match error {
            Error::NotInCluster { .. } => missing(&path),
            other => other,
        }),
    }
}

/// From the service account, which has no contexts to choose from.
async fn of_pod(context: Option<&str>) -> Result<Config, Error> {
    match context {
        Some(context) => Err(Error::NoContexts { context: context.to_owned() }),
        None => load(None).await,
    }
}

/// Merges the files that are there; for each setting the first file that has it counts, as for kubectl.
/// `None` if there is no file.
async fn from_files(
    path: &Path,
    context: Option<&str>,
    proxies: Proxies,
) -> Result<Option<Config>, Error> {
    let failed = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut found = None;
    for file in std::env::split_paths(path).filter(|file| !file.as_os_str().is_empty()) {
        let next = match Kubeconfig::read_from(file) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => {
                continue;
            }
            read => read.map_err(failed)?,
        };
        let merged: Kubeconfig = found.take().unwrap_or_default();
        found = Some(merged.merge(next).map_err(failed)?);
    }
    let Some(mut merged) = found else { return Ok(None) };
    if let Some(context) = context {
        merged.current_context = Some(context.to_owned());
    }
    let proxy = take_proxies(&mut merged);
    if let (Some((cluster, _)), Proxies::Refused) = (&proxy, proxies) {
        return Err(Error::Proxy { path: path.to_owned(), cluster: cluster.clone() });
    }
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(failed)?;
    let parsed = proxy.map(|(_, url)| url.parse().map_err(KubeconfigError::ParseProxyUrl));
    config.proxy_url = parsed.transpose().map_err(failed)?;
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

//! How agent, hook and client are configured to reach the API server: by kubeconfig files, else by
//! the pod's service account, and never through a proxy. Time limits and clients are the callers'.

use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

/// A syntactically valid proxy URL that no cluster has; see [`disable_proxies`].
const UNUSED_PROXY: &str = "http://unused.invalid";

/// The configuration is missing or wrong. No message contains a token, a key or a proxy's password.
#[derive(Debug, Error)]
pub enum Error {
    /// No kubeconfig is given, and the program does not run in a pod with a service account.
    #[error("this is not a pod with a service account ({source}), and no kubeconfig is given")]
    NotInCluster {
        /// What is missing.
        source: Box<InClusterError>,
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
/// variable `KUBECONFIG` does, or else from the service account of the pod.
///
/// # Errors
/// If neither is there, a file cannot be used, or the selected cluster sets `proxy-url`.
pub async fn load(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    match kubeconfig {
        Some(path) => from_files(path, None).await,
        None => {
            Config::incluster().map_err(|source| Error::NotInCluster { source: Box::new(source) })
        }
    }
}

/// Loads the configuration as kubectl does for a person: from `kubeconfig`, else from the files of
/// the variable `KUBECONFIG`, else from `~/.kube/config`, else from the service account of the pod;
/// and of it `context`, else the current one.
///
/// # Errors
/// As [`load`], and if there is no such context.
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
    match kubeconfig.map(Path::to_owned).or_else(of_variable).or_else(of_home) {
        Some(path) => from_files(&path, context).await,
        None => load(None).await,
    }
}

/// Merges the files; for each setting the first file that has it counts, as for kubectl.
async fn from_files(path: &Path, context: Option<&str>) -> Result<Config, Error> {
    let failed = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(path).filter(|file| !file.as_os_str().is_empty()) {
        let next = Kubeconfig::read_from(file).map_err(failed)?;
        merged = merged.merge(next).map_err(failed)?;
    }
    if let Some(context) = context {
        merged.current_context = Some(context.to_owned());
    }
    disable_proxies(&mut merged)
        .map_err(|cluster| Error::Proxy { path: path.to_owned(), cluster })?;
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(failed)?;
    config.proxy_url = None;
    Ok(config)
}

/// Keeps kube from reading `HTTPS_PROXY`, which it does for a cluster without `proxy-url`. As kube
/// is built here without support for proxies, the client would then refuse to connect.
///
/// # Errors
/// If the selected cluster itself sets `proxy-url`; the error is the cluster's name.
fn disable_proxies(kubeconfig: &mut Kubeconfig) -> Result<(), String> {
    let selected = kubeconfig.current_context.as_ref().and_then(|current| {
        let named = kubeconfig.contexts.iter().find(|named| named.name == *current)?;
        named.context.as_ref().map(|context| context.cluster.clone())
    });
    for named in &mut kubeconfig.clusters {
        let Some(cluster) = named.cluster.as_mut() else { continue };
        let is_selected = Some(&named.name) == selected.as_ref();
        if is_selected && cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
            return Err(named.name.clone());
        }
        cluster.proxy_url = Some(UNUSED_PROXY.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;

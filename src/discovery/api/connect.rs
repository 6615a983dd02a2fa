//! A client for the API server, from a kubeconfig or from the pod's own service account.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use super::Options;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The API server cannot be asked: the configuration is missing or wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// No `--kubeconfig`, and not in a pod.
    #[error(
        "no way to the API server: this is not a pod with a service account ({source}) and no \
         kubeconfig is given; give --kubeconfig FILE (or KUBECONFIG), run in a pod with a service \
         account, or go without by --no-api"
    )]
    NotInCluster {
        /// What is missing.
        source: Box<InClusterError>,
    },
    /// The kubeconfig cannot be used.
    #[error(
        "cannot use kubeconfig {}: {source}; check the file, or go without the API by --no-api",
        path.display()
    )]
    Kubeconfig {
        /// The file, or files divided by `:`.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// The configuration is there and no client can be made of it.
    #[error("cannot make a client for the API server at {url}: {source}")]
    Client {
        /// The server's address.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// A client and the server's address, without anything secret.
pub(super) async fn client(options: &Options) -> Result<(Client, String), Error> {
    let mut config = match &options.kubeconfig {
        Some(path) => from_files(path)
            .await
            .map_err(|source| Error::Kubeconfig { path: path.clone(), source: Box::new(source) })?,
        None => Config::incluster()
            .map_err(|source| Error::NotInCluster { source: Box::new(source) })?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // kube's own retries would hide a failing server from us.
    config.default_retry = false;
    // The last resort below our own limits, which are shorter.
    let patience = options.patience;
    config.read_timeout = Some(patience.event.max(patience.answer) + CONNECT_TIMEOUT);
    config.reset_reader_on_write = true;
    let url = address(&config);
    match Client::try_from(config) {
        Ok(client) => Ok((client, url)),
        Err(source) => Err(Error::Client { url, source: Box::new(source) }),
    }
}

/// `KUBECONFIG` may name several files; the first word on a subject counts.
async fn from_files(path: &PathBuf) -> Result<Config, KubeconfigError> {
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(path).filter(|file| !file.as_os_str().is_empty()) {
        merged = merged.merge(Kubeconfig::read_from(file)?)?;
    }
    let clusters = merged.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let has_proxy = clusters.into_iter().any(|cluster| cluster.proxy_url.is_some());
    let mut config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await?;
    if !has_proxy {
        // kube has HTTPS_PROXY here, which it then refuses: the API server is reached directly.
        config.proxy_url = None;
    }
    Ok(config)
}

/// Scheme, host and port: user names and passwords have no place in a log.
fn address(config: &Config) -> String {
    let url = &config.cluster_url;
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.host().unwrap_or_default();
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

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
    /// The kubeconfig demands a proxy.
    #[error(
        "kubeconfig {} has a `proxy-url` for the cluster {cluster}, and ephemon reaches the API server \
         directly only; take it out, or go without the API by --no-api",
        path.display()
    )]
    Proxy {
        /// The file, or files divided by `:`.
        path: PathBuf,
        /// The cluster's name in it.
        cluster: String,
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
        Some(path) => from_files(path).await?,
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
async fn from_files(path: &PathBuf) -> Result<Config, Error> {
    let failed = |source| Error::Kubeconfig { path: path.clone(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(path).filter(|file| !file.as_os_str().is_empty()) {
        let next = Kubeconfig::read_from(file).map_err(failed)?;
        merged = merged.merge(next).map_err(failed)?;
    }
    without_proxy(&mut merged).map_err(|cluster| Error::Proxy { path: path.clone(), cluster })?;
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(failed)?;
    config.proxy_url = None;
    Ok(config)
}

/// Has the API server reached directly: kube asks `HTTPS_PROXY` where a cluster has no proxy of its own, and
/// then refuses it. Refused, with the cluster's name, is a proxy that the kubeconfig itself demands.
fn without_proxy(kubeconfig: &mut Kubeconfig) -> Result<(), String> {
    let meant = kubeconfig.current_context.as_ref();
    let contexts = kubeconfig.contexts.iter().filter(|named| Some(&named.name) == meant);
    let meant =
        contexts.filter_map(|named| named.context.as_ref()).map(|of| of.cluster.clone()).next();
    for named in &mut kubeconfig.clusters {
        let Some(cluster) = named.cluster.as_mut() else { continue };
        let is_meant = Some(&named.name) == meant.as_ref();
        if is_meant && cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
            return Err(named.name.clone());
        }
        // Something that is no secret, so that the environment is not asked.
        cluster.proxy_url = Some("http://unused.invalid".to_owned());
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Clusters `a` and `b`; `a` is meant.
    fn kubeconfig(a: Option<&str>, b: Option<&str>) -> Kubeconfig {
        let cluster = |name: &str, proxy: Option<&str>| {
            serde_json::json!({
                "name": name,
                "cluster": {"server": "https://api.example.org", "proxy-url": proxy},
            })
        };
        serde_json::from_value(serde_json::json!({
            "clusters": [cluster("a", a), cluster("b", b)],
            "contexts": [{"name": "meant", "context": {"cluster": "a", "user": "u"}}],
            "current-context": "meant",
        }))
        .unwrap()
    }

    #[test]
    fn only_the_proxy_of_the_cluster_that_is_meant_is_refused_and_none_is_asked_of_the_environment()
    {
        for (a, b) in [(None, None), (Some(""), None), (None, Some("http://u:secret@p:3128"))] {
            let mut kubeconfig = kubeconfig(a, b);
            assert_eq!(without_proxy(&mut kubeconfig), Ok(()), "{a:?} {b:?}");
            for named in kubeconfig.clusters {
                let url = named.cluster.unwrap().proxy_url;
                assert_eq!(url.as_deref(), Some("http://unused.invalid"));
            }
        }
        let mut kubeconfig = kubeconfig(Some("http://u:secret@p:3128"), None);
        let refused = without_proxy(&mut kubeconfig).unwrap_err();
        assert_eq!(refused, "a");
        let error = Error::Proxy { path: "/etc/kubeconfig".into(), cluster: refused };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

//! A client for the API server, with this agent's time limits.

use std::time::Duration;

use kube::{Client, Config};
use thiserror::Error;

use super::Options;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No client for the API server can be made: the configuration is missing or wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is missing or wrong.
    #[error(
        "no access to the API server: {0}; set --kubeconfig FILE or KUBECONFIG, run in a pod with a \
         service account, or disable the API with --no-api"
    )]
    Config(#[from] ephemon_kube_config::Error),
    /// The configuration is valid, but no client can be created from it.
    #[error("cannot create a client for the API server at {url}: {source}")]
    Client {
        /// The server's address.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// A client, and the server's address without credentials.
pub(super) async fn client(options: &Options) -> Result<(Client, String), Error> {
    let mut config = ephemon_kube_config::load(options.kubeconfig.as_deref()).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The watch loop counts and logs each failure; kube's own retries would hide them.
    config.default_retry = false;
    // A safeguard only: the watch loop has shorter limits of its own.
    let patience = options.patience;
    config.read_timeout = Some(patience.event.max(patience.answer) + CONNECT_TIMEOUT);
    config.reset_reader_on_write = true;
    let url = address(&config);
    match Client::try_from(config) {
        Ok(client) => Ok((client, url)),
        Err(source) => Err(Error::Client { url, source: Box::new(source) }),
    }
}

/// Scheme, host and port; user name and password must not appear in a log.
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
    use std::fs;

    use super::super::Patience;
    use super::*;

    fn options(kubeconfig: &std::path::Path) -> Options {
        let second = Duration::from_secs(1);
        Options {
            kubeconfig: Some(kubeconfig.to_owned()),
            node_name: "n".to_owned(),
            pod_selectors: vec![String::new()],
            ci_systems: ephemon_ci_systems::CiSystems::default(),
            patience: Patience {
                answer: second,
                event: second,
                whole_watch: second,
                first_pause: second,
                longest_pause: second,
            },
        }
    }

    async fn client_of(cluster: &str) -> Result<(Client, String), Error> {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("config");
        let text = format!(
            "clusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\nusers: [{{name: u, user: {{token: t}}}}]\n"
        );
        fs::write(&path, text).unwrap();
        client(&options(&path)).await
    }

    #[tokio::test]
    async fn the_address_that_is_logged_has_no_credentials() {
        let (_, url) = client_of("server: 'https://u:secret@h.example.org:6443'").await.unwrap();
        assert_eq!(url, "https://h.example.org:6443");
    }

    #[tokio::test]
    async fn a_proxy_in_the_kubeconfig_is_an_error_that_says_what_to_do() {
        let cluster = "server: 'https://h.example.org', proxy-url: 'http://u:secret@p:3128'";
        let Err(error) = client_of(cluster).await else { panic!("a client with a proxy") };
        let message = error.to_string();
        assert!(message.contains("`proxy-url` for the cluster c"), "{message}");
        assert!(message.contains("--no-api") && !message.contains("secret"), "{message}");
    }
}

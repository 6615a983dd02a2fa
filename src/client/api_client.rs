//! A client for the API server, through the proxy that kubectl would use: the cluster's `proxy-url`,
//! else that of `HTTPS_PROXY`, unless `NO_PROXY` exempts the server or it is on this host (client-go,
//! `tools/clientcmd/client_config.go` and `transport/cache.go`; Go, `x/net/http/httpproxy`).

use hyper::Uri;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use thiserror::Error as ThisError;
use tower::{BoxError, ServiceBuilder};

use super::no_proxy::is_exempt;
use crate::error::chain;

/// Why there is no client. No message has a proxy's password.
#[derive(Debug, ThisError)]
pub enum ClientError {
    /// The configuration is valid, but no client can be made of it.
    #[error("cannot create a client for the API server: {0}")]
    Kube(String),
    /// It is not a proxy of HTTP.
    #[error(
        "a proxy of the scheme {0:?} is not supported, which {1} names; write http://HOST:PORT"
    )]
    Scheme(String, &'static str),
}

/// A client with the time limits of the configuration.
pub(crate) fn client(mut config: Config) -> Result<Client, ClientError> {
    let failed = |error: kube::Error| ClientError::Kube(chain(&error));
    let own = config.proxy_url.take();
    let proxy = match &own {
        Some(url) => Matcher::builder().all(url.to_string()).build().intercept(&config.cluster_url),
        None => of_environment(&config.cluster_url, &|name| std::env::var(name).ok()),
    };
    let whose = if own.is_some() { "the kubeconfig's proxy-url" } else { "HTTPS_PROXY" };
    match proxy {
        None if own.is_some() => {
            let scheme = own.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
            Err(ClientError::Scheme(scheme.to_owned(), whose))
        }
        None => Client::try_from(config).map_err(failed),
        Some(proxy) => match proxy.uri().scheme_str() {
            Some("http") => through(&proxy, &config).map_err(failed),
            other => Err(ClientError::Scheme(other.unwrap_or_default().to_owned(), whose)),
        },
    }
}

/// The proxy that the environment names for an address.
fn of_environment(to: &Uri, variable: &dyn Fn(&str) -> Option<String>) -> Option<Intercept> {
    let value =
        |names: [&str; 2]| names.into_iter().filter_map(variable).find(|value| !value.is_empty());
    let is_secure = to.scheme_str() == Some("https");
    // `HTTP_PROXY` is for servers without TLS, which are none of these.
    let proxy = value(["HTTPS_PROXY", "https_proxy"]).filter(|_| is_secure)?;
    let exempt = value(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    if is_exempt(to, &exempt) {
        None
    } else {
        Matcher::builder().https(proxy).build().intercept(to)
    }
}

/// What kube's own builder makes, over a tunnel: it is built without support for proxies here.
fn through(proxy: &Intercept, config: &Config) -> Result<Client, kube::Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(config.connect_timeout);
    let mut tunnel = Tunnel::new(proxy.uri().clone(), http);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    let connector = config.rustls_https_connector_with_connector(tunnel)?;
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxy_is_taken_as_kubectl_does() {
        let proxied = |to: &'static str, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let found = of_environment(&Uri::from_static(to), &variable)?;
            Some(found.uri().to_string())
        };
        let proxy = ("HTTPS_PROXY", "http://user:secret@proxy:3128");
        let there = Some("http://proxy:3128/".to_owned());
        assert_eq!(proxied("https://api.example:6443", &[proxy]), there);
        assert_eq!(proxied("https://api.example:6443", &[("https_proxy", proxy.1)]), there);
        for variable in ["NO_PROXY", "no_proxy"] {
            let variables = [proxy, (variable, "other, *.example:6443")];
            assert_eq!(proxied("https://api.example:6443", &variables), None, "{variable}");
            assert_eq!(proxied("https://api.example:443", &variables), there, "{variable}");
        }
        assert_eq!(proxied("https://localhost:6443", &[proxy]), None);
        assert_eq!(proxied("https://api.example", &[("HTTPS_PROXY", "")]), None);
        assert_eq!(proxied("http://api.example", &[proxy]), None);
    }

    #[test]
    fn another_kind_of_proxy_is_an_error_without_its_password() {
        for url in ["socks5://u:secret@proxy:1080", "https://u:secret@proxy:3128"] {
            let mut config = Config::new(Uri::from_static("https://api.example"));
            config.proxy_url = Some(Uri::from_static(url));
            let error = client(config).err().unwrap().to_string();
            assert!(error.contains("proxy-url") && !error.contains("secret"), "{error}");
        }
    }
}

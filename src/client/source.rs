//! Which agents are asked: flags of the command line.

use std::path::PathBuf;

use thiserror::Error as ThisError;

/// Where a cluster's agents are by default.
pub(crate) const AGENT_NAMESPACE: &str = "ephemon";

/// Which agents are asked: one by its address, or all of a cluster, with the user's own rights.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Source {
    /// An agent's address instead of a cluster [example: `http://localhost:9911`]; can be given more
    /// than once
    #[arg(long, value_name = "URL")]
    pub agent: Vec<Address>,

    /// Configuration of the cluster; else KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the configuration
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Only jobs of this namespace [default: all that the agents show]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The namespace of the agents [default: `ephemon`, or, if none is there, all]
    #[arg(long, value_name = "NAME")]
    pub agent_namespace: Option<String>,
}

/// `host:port` of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(crate) String);

/// The address cannot be used.
#[derive(Debug, ThisError)]
#[error("{0}; write http://HOST:PORT")]
pub struct AddressError(&'static str);

// === impl Address ===

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(AddressError("agents with TLS are not supported")),
            Some(_) => return Err(AddressError("the scheme is not http")),
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let uri: hyper::Uri =
            format!("http://{rest}").parse().map_err(|_| AddressError("it is no address"))?;
        let is_root = uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|it| is_root && !it.as_str().contains('@'));
        let authority = authority.ok_or(AddressError("it has more than host and port"))?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self(format!("{}:{port}", authority.host())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for (text, address) in [
            ("http://localhost:9911", "localhost:9911"),
            ("http://127.0.0.1:9911/", "127.0.0.1:9911"),
            ("[::1]:9911", "[::1]:9911"),
            ("http://agent.example", "agent.example:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().0, address);
        }
        for (text, why) in [
            ("https://x:1", "TLS"),
            ("ftp://x", "scheme"),
            ("http://user:word@x:1", "more than"),
            ("http://x:1/page", "more than"),
            ("http://", "no address"),
            ("http://a b", "no address"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("http://HOST:PORT"), "{text}: {error}");
        }
    }
}

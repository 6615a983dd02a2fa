//! Which servers a client reaches without the environment's proxy, as kubectl decides it (Go,
//! `x/net/http/httpproxy`, `useProxy` and `init`): those on this host, and those that an entry of
//! `NO_PROXY` names. Pure.
//!
//! Entries are separated by commas. `example` is a name and all below it, `.example` and `*.example` are
//! those below it only, `10.1.2.3` is an address, `10.0.0.0/8` a network, and `*` everything. `HOST:PORT`
//! is for that port alone; an IPv6 address needs brackets for it, and has none without. A name beyond
//! ASCII must be written in its ASCII form here.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The port of an address without one.
const HTTPS_PORT: u16 = 443;

/// Whether a server is reached directly, whatever proxy the environment has. It is one with TLS.
pub(super) fn is_exempt(to: &Uri, list: &str) -> bool {
    let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    let port = to.port_u16().unwrap_or(HTTPS_PORT).to_string();
    list.split(',').map(str::trim).any(|entry| {
        if entry == "*" {
            return true;
        }
        if entry.contains('/') {
            return is_in_network(to, entry);
        }
        let (named, of_port) = host_and_port(entry);
        let is_named = match (address, named.parse::<IpAddr>()) {
            (Some(address), Ok(named)) => named.to_canonical() == address,
            (None, Err(_)) => is_below(&host, named),
            _ => false,
        };
        is_named && (of_port.is_empty() || of_port == port)
    })
}

/// The matcher has curl's rules, which for networks are the same.
fn is_in_network(to: &Uri, network: &str) -> bool {
    Matcher::builder().all("http://proxy").no(network).build().intercept(to).is_none()
}

/// Without a port the second is empty (Go, `net.SplitHostPort`).
fn host_and_port(entry: &str) -> (&str, &str) {
    let Some((host, port)) = entry.rsplit_once(':') else { return (entry, "") };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => (inner, port),
        // Several colons are an IPv6 address.
        None if host.contains(':') => (entry, ""),
        None => (host, port),
    }
}

/// `host` is in lower case.
fn is_below(host: &str, named: &str) -> bool {
    let named = named.to_ascii_lowercase();
    let named = named.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&named);
    if named.starts_with('.') {
        return host.ends_with(named);
    }
    let above = host.strip_suffix(named);
    above.is_some_and(|above| !named.is_empty() && (above.is_empty() || above.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(to: &str, list: &str) -> bool {
        is_exempt(&to.parse().unwrap(), list)
    }

    /// What Go's package says of the same.
    #[test]
    fn entries_are_read_as_kubectl_reads_them() {
        let name = "https://API.example:6443";
        for entry in [
            "*",
            "api.example",
            "Api.Example",
            "example",
            ".example",
            "*.example",
            "api.example:6443",
            "example:6443",
            ".example:6443",
            "*.EXAMPLE:6443",
            "api.example:",
            "other, api.example",
        ] {
            assert!(is_direct(name, entry), "{entry}");
        }
        for entry in [
            "",
            ",",
            ":6443",
            "api.example:443",
            "api.example:06443",
            ".api.example",
            "*.api.example",
            "*api.example",
            "pi.example",
            "ample",
            "api.example.",
            "other api.example",
            "api.example/8",
            "10.0.0.0/8",
        ] {
            assert!(!is_direct(name, entry), "{entry}");
        }
        assert!(is_direct("https://api.example", "api.example:443"));
        assert!(!is_direct("https://notexample", "example"));
    }

    #[test]
    fn addresses_and_networks_are_for_hosts_that_are_addresses() {
        let address = "https://10.1.2.3:6443";
        for entry in ["10.1.2.3", "10.1.2.3:6443", "10.0.0.0/8", "10.1.2.9/8", "*"] {
            assert!(is_direct(address, entry), "{entry}");
        }
        for entry in ["10.1.2.3:443", "10.1.2.33", "11.0.0.0/8", "10.0.0.0/99", "2.3", ".2.3", "/"]
        {
            assert!(!is_direct(address, entry), "{entry}");
        }
        let address = "https://[fd00::1]:6443";
        for entry in ["fd00::1", "FD00::1", "[fd00::1]:6443", "fd00::/8"] {
            assert!(is_direct(address, entry), "{entry}");
        }
        for entry in ["[fd00::1]", "[fd00::1]:443", "fe80::/8", "fd00::1:6443"] {
            assert!(!is_direct(address, entry), "{entry}");
        }
    }

    #[test]
    fn this_host_has_no_proxy() {
        for local in ["https://localhost:6443", "https://127.0.0.9", "https://[::1]:6443"] {
            assert!(is_direct(local, ""), "{local}");
        }
        for other in ["https://localhost.example", "https://LOCALHOST"] {
            assert!(!is_direct(other, ""), "{other}");
        }
    }
}

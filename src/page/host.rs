//! Which names of a host a request may have. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a request's host is an address or `localhost`. A name could be anybody's: a page of another
/// site that a browser was led to by a name of that site, which then became this server's address (DNS
/// rebinding), could else read what this server says.
pub fn is_address_or_localhost(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local = name.eq_ignore_ascii_case("localhost");
    is_local || host.parse::<IpAddr>().is_ok() || name.parse::<IpAddr>().is_ok()
}

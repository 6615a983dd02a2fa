//! Ports of a job's containers. They share one network, so that two cannot have the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// One `ports:` entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// Where others are to find it; the container's own where nothing else is said.
    pub(super) host: u16,
    /// Where the program listens.
    pub(super) container: u16,
    pub(super) protocol: Protocol,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// Ports that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "{0:?} is not a port mapping; write CONTAINER, HOST:CONTAINER, and /tcp or /udp after it"
    )]
    Malformed(String),
    #[error(
        "port {port}/{protocol} is wanted by both {first} and {second}: the containers of a job share one network, so each port can be listened on once; give one of them another port inside its container"
    )]
    Clash { port: u16, protocol: Protocol, first: String, second: String },
    #[error("port {0}/udp cannot be given another number: only TCP is forwarded")]
    Udp(u16),
}

// === impl Port ===

impl Port {
    /// Reads `8080:80/tcp`, `127.0.0.1:8080:80`, `6379`, and ranges of the same length.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, Error> {
        Self::read(text).ok_or_else(|| Error::Malformed(text.chars().take(64).collect()))
    }

    fn read(text: &str) -> Option<Vec<Self>> {
        let (ports, protocol) = text.trim().rsplit_once('/').unwrap_or((text.trim(), "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        // An address in front cannot narrow what one network shares.
        let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
        let host = rest.rsplit_once(':').map_or(rest, |(_, host)| host);
        let container = range(container)?;
        let host = if host.is_empty() { container.clone() } else { range(host)? };
        if host.len() != container.len() {
            return None;
        }
        Some(
            host.zip(container)
                .map(|(host, container)| Self { host, container, protocol })
                .collect(),
        )
    }

    /// Whether it has to be forwarded.
    pub(super) fn is_remapped(self) -> bool {
        self.host != self.container
    }
}

/// Refuses ports that two want. Owners come with what they are called in the message.
pub(super) fn check<'a>(
    owners: impl IntoIterator<Item = (&'a str, &'a [Port])>,
) -> Result<(), Error> {
    let mut taken: HashMap<(u16, Protocol), &str> = HashMap::new();
    for (owner, ports) in owners {
        let mut own: Vec<(u16, Protocol)> = Vec::new();
        for port in ports {
            if port.is_remapped() && port.protocol == Protocol::Udp {
                return Err(Error::Udp(port.container));
            }
            own.push((port.container, port.protocol));
            if port.is_remapped() {
                own.push((port.host, port.protocol));
            }
        }
        for (number, protocol) in own {
            if let Some(first) = taken.get(&(number, protocol)).filter(|first| **first != owner) {
                let (first, second) = ((*first).to_owned(), owner.to_owned());
                return Err(Error::Clash { port: number, protocol, first, second });
            }
            taken.insert((number, protocol), owner);
        }
    }
    Ok(())
}

/// `job.services.NAME.ports`: container port to the port to connect to.
pub(super) fn shown(ports: &[Port]) -> BTreeMap<String, String> {
    ports.iter().map(|port| (port.container.to_string(), port.host.to_string())).collect()
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Port {
        let ports = Port::parse(text).unwrap();
        assert_eq!(ports.len(), 1, "{text}");
        ports[0]
    }

    #[test]
    fn mappings_are_read_as_docker_reads_them() {
        let tcp = |host, container| Port { host, container, protocol: Protocol::Tcp };
        assert_eq!(one("6379"), tcp(6379, 6379));
        assert_eq!(one("8080:80/tcp"), tcp(8080, 80));
        assert_eq!(one("127.0.0.1:8080:80"), tcp(8080, 80));
        assert_eq!(one("53/udp").protocol, Protocol::Udp);
        assert_eq!(Port::parse("80-82").unwrap().len(), 3);
        for bad in ["", "x", "0", "70000", "80/sctp", "1-2:3", "5-4", ":", "a:80"] {
            assert!(Port::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_services_cannot_have_the_same_port() {
        let (a, b) = (vec![one("5433:5432")], vec![one("5432")]);
        let clash = check([("postgres", a.as_slice()), ("postgres-2", b.as_slice())]);
        let Err(Error::Clash { port: 5432, first, second, .. }) = clash else {
            panic!("{clash:?}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("postgres", "postgres-2"));
    }

    #[test]
    fn a_remap_onto_another_containers_port_is_a_clash() {
        let (a, b) = (vec![one("80:8000")], vec![one("80")]);
        assert!(check([("a", a.as_slice()), ("b", b.as_slice())]).is_err());
    }

    #[test]
    fn tcp_and_udp_do_not_clash_and_a_port_twice_in_one_container_is_one() {
        let (a, b) = (vec![one("53"), one("53")], vec![one("53/udp")]);
        assert_eq!(check([("a", a.as_slice()), ("b", b.as_slice())]), Ok(()));
        let udp = vec![one("5353:53/udp")];
        assert_eq!(check([("a", udp.as_slice())]), Err(Error::Udp(53)));
    }

    #[test]
    fn expressions_see_container_ports_and_where_to_connect() {
        let shown = shown(&[one("8080:80"), one("6379")]);
        assert_eq!(shown.get("80").map(String::as_str), Some("8080"));
        assert_eq!(shown.get("6379").map(String::as_str), Some("6379"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            drop(Port::parse(&text));
        }
    }
}

//! Ports of a job's containers. They share one network, so two containers cannot use the same port.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// One `ports:` entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// The port at which other containers expect it; by default the container's own.
    pub(super) host: u16,
    /// The port that the program listens on.
    pub(super) container: u16,
    pub(super) protocol: Protocol,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// The container of some ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    /// Its name in messages.
    pub(super) name: &'a str,
    /// Whether it is the job container, in which a step may or may not listen.
    pub(super) is_job: bool,
}

/// Ports that are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "{0:?} is not a port mapping; write CONTAINER, HOST:CONTAINER or ADDRESS:HOST:CONTAINER, with /tcp or /udp after it"
    )]
    Malformed(String),
    #[error(
        "{0:?} is not a port mapping: the part before the colon is empty; write CONTAINER or HOST:CONTAINER"
    )]
    NoHost(String),
    #[error("{text:?} is not a port mapping: {address:?} is not an IP address")]
    Address { text: String, address: String },
    #[error("{0:?} is not a port mapping: the two ranges differ in length")]
    Lengths(String),
    #[error(
        "port {port}/{protocol} is used by both {first} and {second}: the containers of a job share one network, so only one of them can listen on it; change the port of one of them inside its container, with a variable of its image (PGPORT of postgres, MYSQL_TCP_PORT of mysql and mariadb) or with `command:`"
    )]
    Clash { port: u16, protocol: Protocol, first: String, second: String },
}

// === impl Port ===

impl Port {
    /// Reads `8080:80/tcp`, `127.0.0.1:8080:80`, `6379`, and ranges.
    ///
    /// Source: docker/go-connections, `nat.ParsePortSpec`. Without a host port Docker chooses one;
    /// here it is the container's own.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, Error> {
        let shown = || text.chars().take(64).collect::<String>();
        let malformed = || Error::Malformed(shown());
        let (ports, protocol) = text.trim().rsplit_once('/').unwrap_or((text.trim(), "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(malformed()),
        };
        let (rest, container) = match ports.rsplit_once(':') {
            Some((rest, container)) => (Some(rest), container),
            None => (None, ports),
        };
        let container = range(container).ok_or_else(malformed)?;
        let host = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
            None => "",
            Some(Err("") | Ok(("", ""))) => return Err(Error::NoHost(shown())),
            Some(Err(host)) => host,
            Some(Ok((address, host))) => {
                // The address cannot restrict access, because all containers share one network.
                let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let address = plain.unwrap_or(address);
                if !address.is_empty() && address.parse::<IpAddr>().is_err() {
                    let address = address.chars().take(64).collect();
                    return Err(Error::Address { text: shown(), address });
                }
                host
            }
        };
        let host =
            if host.is_empty() { container.clone() } else { range(host).ok_or_else(malformed)? };
        let host = match (host.len(), container.len()) {
            (hosts, containers) if hosts == containers => host,
            // Docker chooses any free port of the range.
            (_, 1) if host.contains(container.start()) => container.clone(),
            (_, 1) => *host.start()..=*host.start(),
            _ => return Err(Error::Lengths(shown())),
        };
        let pairs = host.zip(container);
        Ok(pairs.map(|(host, container)| Self { host, container, protocol }).collect())
    }

    /// Whether it must be forwarded.
    pub(super) fn is_remapped(self) -> bool {
        self.host != self.container
    }

    pub(super) fn is_udp(self) -> bool {
        self.protocol == Protocol::Udp
    }

    /// All ports that it uses in the shared network.
    fn numbers(self) -> impl Iterator<Item = (u16, Protocol)> {
        let host = self.is_remapped().then_some((self.host, self.protocol));
        [(self.container, self.protocol)].into_iter().chain(host)
    }
}

/// Fails if two services use the same port. Returns a sentence for each port of the job container
/// that a service uses.
pub(super) fn check<'a>(
    owners: impl IntoIterator<Item = (Owner<'a>, &'a [Port])>,
) -> Result<Vec<String>, Error> {
    let mut taken: HashMap<(u16, Protocol), Owner<'_>> = HashMap::new();
    let mut warnings = Vec::new();
    for (owner, ports) in owners {
        for (number, protocol) in ports.iter().flat_map(|port| port.numbers()) {
            let before = *taken.entry((number, protocol)).or_insert(owner);
            if before == owner {
                continue;
            }
            if !before.is_job && !owner.is_job {
                let (first, second) = (before.name.to_owned(), owner.name.to_owned());
                return Err(Error::Clash { port: number, protocol, first, second });
            }
            let (job, service) = if before.is_job { (before, owner) } else { (owner, before) };
            taken.insert((number, protocol), service);
            warnings.push(format!(
                "port {number}/{protocol} is declared by {} and by service {}, which share one network: a step cannot listen on it while the service does",
                job.name, service.name
            ));
        }
    }
    Ok(warnings)
}

/// `job.services.NAME.ports`: maps the container port to the port to connect to. As in Docker mode
/// the key has no protocol (actions/runner, `DockerUtil.ParseDockerPort`); if TCP and UDP use the
/// same number, the TCP port is used.
pub(super) fn shown(ports: &[Port]) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let ports = ports.iter().filter(|port| port.protocol == protocol);
        shown.extend(ports.map(|port| (port.container.to_string(), port.host.to_string())));
    }
    shown
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        // A sign is not valid in a port.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number > 0)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
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

    fn service(name: &str) -> Owner<'_> {
        Owner { name, is_job: false }
    }

    #[test]
    fn mappings_are_read_as_docker_reads_them() {
        let pairs = |text: &str| -> Vec<(u16, u16)> {
            let ports = Port::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            ports.iter().map(|port| (port.host, port.container)).collect()
        };
        for (text, wanted) in [
            ("6379", &[(6379, 6379)][..]),
            (" 5432/tcp ", &[(5432, 5432)]),
            ("8080:80/TCP", &[(8080, 80)]),
            ("127.0.0.1:8080:80", &[(8080, 80)]),
            ("127.0.0.1::80", &[(80, 80)]),
            (":8080:80", &[(8080, 80)]),
            ("[::1]:8080:80", &[(8080, 80)]),
            ("80-82", &[(80, 80), (81, 81), (82, 82)]),
            ("8000-8001:9000-9001", &[(8000, 9000), (8001, 9001)]),
            ("127.0.0.1:8000-8001:8000-8001/udp", &[(8000, 8000), (8001, 8001)]),
            ("8000-8010:80", &[(8000, 80)]),
            ("79-81:80", &[(80, 80)]),
        ] {
            assert_eq!(pairs(text), wanted, "{text}");
        }
        assert_eq!(one("5353:53/udp").protocol, Protocol::Udp);
    }

    #[test]
    fn what_is_no_mapping_is_said_to_be_none_and_why() {
        for bad in [
            "", "x", "0", "70000", "80/sctp", "5-4", ":", "a:80", "80:", "8080:", "+80", "1-",
            "80/",
        ] {
            assert!(matches!(Port::parse(bad), Err(Error::Malformed(_))), "{bad}");
        }
        for bad in [":1", "::1"] {
            assert!(matches!(Port::parse(bad), Err(Error::NoHost(_))), "{bad}");
        }
        for bad in ["1:1:1", "localhost:8080:80", "[::1:8080:80"] {
            assert!(matches!(Port::parse(bad), Err(Error::Address { .. })), "{bad}");
        }
        assert!(matches!(Port::parse("1-2:3-5"), Err(Error::Lengths(_))));
        assert!(matches!(Port::parse("1:3-5"), Err(Error::Lengths(_))));
    }

    #[test]
    fn two_services_cannot_have_the_same_port() {
        let (a, b) = (vec![one("5433:5432")], vec![one("5432")]);
        let clash =
            check([(service("postgres"), a.as_slice()), (service("postgres-2"), b.as_slice())]);
        let Err(Error::Clash { port: 5432, first, second, .. }) = clash else {
            panic!("{clash:?}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("postgres", "postgres-2"));
    }

    #[test]
    fn a_remap_onto_another_services_port_is_a_clash() {
        let (a, b) = (vec![one("80:8000")], vec![one("80")]);
        assert!(check([(service("a"), a.as_slice()), (service("b"), b.as_slice())]).is_err());
    }

    #[test]
    fn a_port_of_the_job_itself_is_a_warning() {
        let (job, web) = (vec![one("80"), one("81")], vec![one("80")]);
        let owners = [
            (Owner { name: "job", is_job: true }, job.as_slice()),
            (service("web"), web.as_slice()),
        ];
        let warnings = check(owners).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("80/tcp"), "{warnings:?}");
    }

    #[test]
    fn tcp_and_udp_do_not_clash_and_a_port_twice_in_one_container_is_one() {
        let (a, b) = (vec![one("53"), one("53")], vec![one("53/udp")]);
        let checked = check([(service("a"), a.as_slice()), (service("b"), b.as_slice())]);
        assert_eq!(checked, Ok(Vec::new()));
    }

    #[test]
    fn expressions_see_container_ports_and_where_to_connect() {
        let ports = ["8080:80", "6379/tcp", "5353:53/udp", "53"].map(one);
        let shown = shown(&ports);
        let at = |port: &str| shown.get(port).map(String::as_str);
        assert_eq!([at("80"), at("6379"), at("53")], [Some("8080"), Some("6379"), Some("53")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            drop(Port::parse(&text));
        }
    }
}

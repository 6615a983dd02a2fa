//! Services of one image family with the same port inside their containers, as in tests against
//! several databases. With Docker each container has its own network; here only one can listen on
//! the port.
//!
//! In a job without job container no step uses the port inside the container, only the one on the
//! runner's side. So an image whose port is configurable listens on that one directly.

use std::collections::{BTreeMap, BTreeSet};

use crate::ports::Port;
use crate::request::{Container, PrepareJob};
use crate::response::Shown;

/// Images with a configurable port.
struct Family {
    /// Without registry, tag and Docker Hub's `library`.
    images: &'static [&'static str],
    /// The variable that sets the port of the server and of its clients, and so of health commands.
    variable: &'static str,
    /// The server's option, if its configuration file may override the variable. The entrypoints
    /// accept options of the server.
    option: Option<&'static str>,
}

const FAMILIES: [Family; 2] = [
    // PostgreSQL, "Environment Variables" of postgres(1) and libpq.
    Family {
        images: &["postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"],
        variable: "PGPORT",
        option: None,
    },
    // MySQL, "Environment Variables"; MariaDB has them too.
    Family {
        images: &["mysql", "mariadb", "percona"],
        variable: "MYSQL_TCP_PORT",
        option: Some("--port"),
    },
];

/// A service that listens on another port than its image's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    /// Its index in the request.
    pub(super) service: usize,
    /// The default port of its image.
    pub(super) from: u16,
    pub(super) to: u16,
}

/// One TCP port of one service.
struct Wish {
    service: usize,
    port: Port,
    /// Docker chooses the port on the runner's side.
    is_open: bool,
}

/// Sets other ports for services if several use the same one, and returns which ones were changed.
pub(super) fn apart(asked: &mut PrepareJob) -> Vec<Move> {
    if asked.container.is_some() {
        return Vec::new();
    }
    let wishes: Vec<Wish> = asked.services.iter().enumerate().flat_map(wishes).collect();
    let mut taken: BTreeSet<u16> =
        wishes.iter().flat_map(|wish| [wish.port.host, wish.port.container]).collect();
    let mut by_port: BTreeMap<u16, Vec<&Wish>> = BTreeMap::new();
    for wish in &wishes {
        by_port.entry(wish.port.container).or_default().push(wish);
    }
    let mut moves = Vec::new();
    for (from, wanted) in by_port.into_iter().filter(|(_, wanted)| wanted.len() > 1) {
        let fixed = wanted.iter().position(|wish| !is_movable(asked, wish));
        let stays = fixed.unwrap_or(0);
        let others = wanted.into_iter().enumerate().filter(|(place, _)| *place != stays);
        for (_, wish) in others.filter(|(_, wish)| is_movable(asked, wish)) {
            let to = if wish.is_open {
                (from..u16::MAX).find(|port| taken.insert(*port)).unwrap_or(from)
            } else {
                wish.port.host
            };
            moves.push(Move { service: wish.service, from, to });
        }
    }
    for told in &moves {
        if let Some(service) = asked.services.get_mut(told.service) {
            tell(service, told.to);
        }
    }
    moves
}

/// Lists the ports under the numbers that expressions use: the defaults of the images.
pub(super) fn show(moves: &[Move], services: &mut [Shown]) {
    for told in moves {
        if let Some(shown) = services.get_mut(told.service)
            && let Some(port) = shown.ports.remove(&told.to.to_string())
        {
            shown.ports.insert(told.from.to_string(), port);
        }
    }
}

fn wishes((service, asked): (usize, &Container)) -> Vec<Wish> {
    let texts = asked.port_mappings.iter();
    texts
        .filter_map(|text| Some((text, Port::parse(text).ok()?)))
        .flat_map(|(text, ports)| ports.into_iter().map(move |port| (text, port)))
        .filter(|(_, port)| !port.is_udp())
        .map(|(text, port)| Wish { service, port, is_open: !text.contains(':') })
        .collect()
}

/// Whether the port is configurable and the workflow does not set it itself.
fn is_movable(asked: &PrepareJob, wish: &Wish) -> bool {
    let Some(service) = asked.services.get(wish.service) else { return false };
    let Some(family) = family(service) else { return false };
    let options = service.create_options.as_deref().unwrap_or_default();
    (wish.is_open || wish.port.is_remapped())
        && service.port_mappings.len() == 1
        && service.entry_point.is_none()
        && service.entry_point_args.is_empty()
        && !service.environment_variables.contains_key(family.variable)
        && !["--entrypoint", family.variable].iter().any(|word| options.contains(word))
}

fn family(service: &Container) -> Option<&'static Family> {
    let image = service.image.as_deref()?;
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let name = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("public.ecr.aws/docker/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    FAMILIES.iter().find(|family| family.images.contains(&name))
}

fn tell(service: &mut Container, port: u16) {
    let Some(family) = family(service) else { return };
    service.environment_variables.insert(family.variable.to_owned(), Some(port.to_string()));
    service.entry_point_args.extend(family.option.map(|option| format!("{option}={port}")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(services: &[(&str, &str)]) -> PrepareJob {
        let services: Vec<_> = services
            .iter()
            .map(|(image, port)| json!({"image": image, "portMappings": [port]}))
            .collect();
        serde_json::from_value(json!({"services": services})).unwrap()
    }

    fn moved(services: &[(&str, &str)]) -> Vec<(usize, u16)> {
        let moves = apart(&mut job(services));
        moves.iter().map(|told| (told.service, told.to)).collect()
    }

    #[test]
    fn the_second_of_two_databases_listens_on_the_port_that_steps_know() {
        let mut asked =
            job(&[("mysql:8", "3306:3306"), ("docker.io/library/mariadb:11", "3307:3306")]);
        assert_eq!(apart(&mut asked), [Move { service: 1, from: 3306, to: 3307 }]);
        let told = &asked.services[1];
        assert_eq!(told.env(), [("MYSQL_TCP_PORT".to_owned(), "3307".to_owned())]);
        assert_eq!(told.entry_point_args, ["--port=3307"]);
        assert!(asked.services[0].env().is_empty());
    }

    #[test]
    fn one_that_cannot_be_told_stays_where_it_is() {
        let singlestore = ("ghcr.io/singlestore-labs/singlestoredb-dev", "33307:3306");
        assert_eq!(moved(&[("mysql", "33306:3306"), singlestore]), [(0, 33_306)]);
        assert_eq!(moved(&[singlestore, singlestore]), []);
        assert_eq!(moved(&[("bitnami/mysql", "1:3306"), ("bitnami/mariadb", "2:3306")]), []);
        assert_eq!(moved(&[("mysql", "3306:3306"), ("mariadb", "3306:3306")]), []);
    }

    #[test]
    fn a_port_that_docker_would_pick_is_the_next_free_one() {
        let postgres = ("postgres:16", "5432");
        let other = ("redis", "5433:6379");
        assert_eq!(moved(&[postgres, other, postgres]), [(2, 5434)]);
    }

    #[test]
    fn nothing_is_told_where_steps_ask_by_name_or_the_workflow_has_its_own_word() {
        let two = [("postgres", "5432:5432"), ("postgres", "5433:5432")];
        let mut with_job = job(&two);
        with_job.container = Some(Container::default());
        assert_eq!(apart(&mut with_job), []);
        let mut own = job(&two);
        own.services[1].environment_variables.insert("PGPORT".to_owned(), None);
        assert_eq!(apart(&mut own), []);
    }

    #[test]
    fn expressions_find_a_moved_port_by_the_number_of_the_image() {
        let ports = [("5433".to_owned(), "5433".to_owned())].into();
        let mut services = [Shown::default(), Shown { ports, ..Shown::default() }];
        show(&[Move { service: 1, from: 5432, to: 5433 }], &mut services);
        assert_eq!(services[1].ports.get("5432").map(String::as_str), Some("5433"));
        assert_eq!(services[1].ports.len(), 1);
    }
}

//! A registry in a node's network: it answers as a real one does, not found, or denied below
//! `private/`. Below `slow/` it has an image of every name, for whose files it takes its time. Below
//! `meet/COUNT/GROUP/` it has them as well, and answers for none before it was asked for so many of the
//! group. Below `hang/` it never answers. A runtime speaks plain HTTP to what is on its own loopback.

mod image;
mod visits;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use image::{MANIFEST, Served};
pub(crate) use visits::Visit;
use visits::Visits;

/// How long it takes for a part of an image below `slow/`: the configuration and the layer have one
/// each, and a runtime fetches them one after the other or at once.
pub(crate) const SLOWNESS: Duration = Duration::from_secs(2);

/// The images that it was asked for.
static IMAGES: Mutex<Option<HashMap<String, Arc<Served>>>> = Mutex::new(None);

/// Who came for which image.
static VISITS: Visits = Visits::new();

/// Where it listens, in the node's network.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// Starts it in the network of a process; it ends with the tests. A socket stays in the network it
/// was made in.
pub(super) fn serve_beside(pid: i32) {
    let network = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let listening = thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpListener::bind(REGISTRY).unwrap()
    });
    let listener = listening.join().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || answer(client).unwrap_or_default());
        }
    });
}

/// The first byte of a TLS record that opens a connection (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// One request; the connection's end is the answer's.
fn answer(mut client: TcpStream) -> std::io::Result<()> {
    let mut first = [0];
    client.peek(&mut first)?;
    if first[0] == TLS_HANDSHAKE {
        // The runtime tries TLS first, and plain HTTP once it is answered so.
        let mut hello = [0; 4096];
        let _length = client.read(&mut hello)?;
        return client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let is_head = request.starts_with("HEAD");
    let path = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/v2/"));
    match path.and_then(|path| path.split_once('/')) {
        Some(("slow", path)) => return has(&client, path, is_head, SLOWNESS),
        Some(("meet", path)) => {
            let path = VISITS.meet(path).unwrap_or_default();
            return has(&client, &path, is_head, Duration::ZERO);
        }
        Some(("hang", path)) => {
            VISITS.came(path);
            // Until the peer gives up.
            return client.read(&mut first).map(drop);
        }
        _ => {}
    }
    // CRI-O asks first whether this is a registry.
    if path == Some("") {
        return client
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let (status, code) = if request.contains("/private/") {
        ("403 Forbidden", "DENIED")
    } else {
        ("404 Not Found", "MANIFEST_UNKNOWN")
    };
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{code}"}}]}}"#);
    write!(
        &client,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        body.len(),
        if is_head { "" } else { &body },
    )
}

/// When the files of the images with these names were asked for and given: `NAME` below `slow/`, `GROUP-NAME`
/// below `meet/`, where a visit begins only once so many of the group were asked for. Manifests are not among
/// them.
pub(crate) fn visits(names: &[&str]) -> Vec<Visit> {
    VISITS.of(names)
}

/// Whether the runtime has come for an image of this name: `NAME` below `hang/`, `GROUP-NAME` below `meet/`.
pub(crate) fn has_come(name: &str) -> bool {
    VISITS.has_come(name)
}

/// Counts an image of a group below `meet/` as asked for, without a runtime that comes for it.
pub(crate) fn ask(group: &str, name: &str) {
    VISITS.join(group, name);
}

/// The answer for `NAME/manifests/REFERENCE` or `NAME/blobs/DIGEST`, whose file takes so long.
fn has(
    mut client: &TcpStream,
    path: &str,
    is_head: bool,
    slowness: Duration,
) -> std::io::Result<()> {
    let mut parts = path.split('/');
    let (name, kind, what) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let name = name.unwrap_or_default();
    let served = image(name);
    let (media, digest, body) = if kind == Some("manifests") {
        (MANIFEST, served.digest.as_str(), served.manifest.as_bytes())
    } else {
        let began = Instant::now();
        thread::sleep(slowness);
        VISITS.enter(name, began);
        let blob = served.blobs.get(what).map(Vec::as_slice).unwrap_or_default();
        ("application/octet-stream", what, blob)
    };
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len(),
    )?;
    if is_head { Ok(()) } else { client.write_all(body) }
}

fn image(name: &str) -> Arc<Served> {
    let mut images = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let images = images.get_or_insert_default();
    let served = images.entry(name.to_owned()).or_insert_with(|| Arc::new(Served::new(name)));
    Arc::clone(served)
}

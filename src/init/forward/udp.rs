//! Forwards datagrams: each client has its own socket towards the target, so that answers can be
//! returned, until neither side has sent anything for a while.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ephemon_base::lock;

use super::{ACCEPT_RETRY_INTERVAL, MAX_CONNECTIONS, Slot, spawn};

/// A client is removed if neither it nor its target has sent anything for this long.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest datagram over IPv4.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// Clients by their address.
type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<Client>>>>;

/// One client.
#[derive(Debug)]
struct Client {
    /// Connected to the target.
    target: UdpSocket,
    /// When it last sent something, in milliseconds after `began`.
    sent_ms: AtomicU64,
    began: Instant,
}

/// Forwards what arrives at a socket for as long as the container runs.
pub(super) fn forward_forever(socket: &UdpSocket, to: SocketAddr, count: &Arc<AtomicUsize>) {
    let clients = Clients::default();
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            thread::sleep(ACCEPT_RETRY_INTERVAL);
            continue;
        };
        let Some(client) = client(socket, from, to, &clients, count) else { continue };
        client.touch();
        // Datagrams may be lost; a target that does not listen yet is not an error.
        drop(client.target.send(buffer.get(..length).unwrap_or_default()));
    }
}

/// The client of an address; creates it if the limit allows.
fn client(
    socket: &UdpSocket,
    from: SocketAddr,
    to: SocketAddr,
    clients: &Clients,
    count: &Arc<AtomicUsize>,
) -> Option<Arc<Client>> {
    let mut known = lock(clients);
    if let Some(client) = known.get(&from) {
        return Some(Arc::clone(client));
    }
    let slot = Slot::take(count, MAX_CONNECTIONS)?;
    let client = Arc::new(Client::connect(to).ok()?);
    let back = socket.try_clone().ok()?;
    let (answered, clients) = (Arc::clone(&client), Arc::clone(clients));
    spawn("forward", move || {
        answered.answer(&back, from);
        lock(&clients).remove(&from);
        drop(slot);
    })
    .ok()?;
    known.insert(from, Arc::clone(&client));
    Some(client)
}

// === impl Client ===

impl Client {
    fn connect(to: SocketAddr) -> io::Result<Self> {
        let any = match to.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let target = UdpSocket::bind((any, 0))?;
        target.connect(to)?;
        target.set_read_timeout(Some(IDLE_TIMEOUT))?;
        Ok(Self { target, sent_ms: AtomicU64::new(0), began: Instant::now() })
    }

    fn touch(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sent_ms.store(millis, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let sent = Duration::from_millis(self.sent_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(sent) >= IDLE_TIMEOUT
    }

    /// Sends the target's answers back until the client is idle.
    fn answer(&self, back: &UdpSocket, client: SocketAddr) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            match self.target.recv(&mut buffer) {
                // The answer is lost, as any datagram can be.
                Ok(length) => {
                    drop(back.send_to(buffer.get(..length).unwrap_or_default(), client));
                }
                // The target does not listen at the moment.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) if self.is_idle() => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(ACCEPT_RETRY_INTERVAL),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ephemon_contract::Forward;

    use super::*;
    use crate::forward::{Forwards, tests::own_address};

    fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_mins(2))).expect("set");
        let address = socket.local_addr().expect("an address");
        (socket, address)
    }

    fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 64];
        let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
        (buffer[..length].to_vec(), from)
    }

    #[test]
    fn answers_go_to_the_client_that_asked() {
        let (target, to) = socket();
        let listen = own_address();
        let asked = Forward { listen: listen.to_string(), to: to.to_string(), udp: true };
        Forwards::default().start(&[asked]).expect("started");
        let (one, other) = (socket().0, socket().0);
        one.send_to(b"one", listen).expect("sent");
        let (question, first) = receive(&target);
        assert_eq!(question, b"one");
        other.send_to(b"other", listen).expect("sent");
        let (question, second) = receive(&target);
        assert_eq!(question, b"other");
        target.send_to(b"to other", second).expect("sent");
        target.send_to(b"to one", first).expect("sent");
        assert_eq!(receive(&one), (b"to one".to_vec(), listen));
        assert_eq!(receive(&other), (b"to other".to_vec(), listen));
    }

    #[test]
    fn a_target_that_comes_later_is_reached() {
        let (to, listen) = (own_address(), own_address());
        let asked = Forward { listen: listen.to_string(), to: to.to_string(), udp: true };
        Forwards::default().start(&[asked]).expect("started");
        let client = socket().0;
        client.send_to(b"lost", listen).expect("sent");
        let target = UdpSocket::bind(to).expect("a port");
        target.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let mut buffer = [0; 64];
        let from = loop {
            client.send_to(b"again", listen).expect("sent");
            if let Ok((_, from)) = target.recv_from(&mut buffer) {
                break from;
            }
        };
        target.send_to(b"here", from).expect("sent");
        assert_eq!(receive(&client).0, b"here");
    }
}

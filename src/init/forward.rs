//! Forwards ports inside the pod: `ports: 8080:80` of a service becomes a listener on 8080 that
//! connects to 80. Each direction of a connection is closed when its source closes it; the other
//! one continues.

mod udp;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ephemon_contract::{ErrorCode, Failure, Forward};

use super::STACK_BYTES;

/// Most forwarded ports of a container.
const MAX_PORTS: usize = 256;
/// Most connections, and clients of UDP ports, at once; further ones are closed immediately.
const MAX_CONNECTIONS: usize = 256;
/// Time limit for connecting to the target.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause if no connection can be accepted because descriptors ran out.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The container's forwarders.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    ports: AtomicUsize,
    connections: Arc<AtomicUsize>,
}

/// A permit of a limited number, returned when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

/// A listening socket.
#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

// === impl Slot ===

impl Slot {
    /// Takes a permit if fewer than `limit` are in use.
    pub(super) fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Forwards ===

impl Forwards {
    /// Starts all forwards, or none.
    pub(super) fn start(&self, asked: &[Forward]) -> Result<(), Failure> {
        let count = self.ports.load(Ordering::Relaxed) + asked.len();
        if count > MAX_PORTS {
            return Err(Failure::new(
                ErrorCode::Busy,
                format!("more than {MAX_PORTS} ports to forward"),
            ));
        }
        let listeners = asked.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        for (listener, to) in listeners {
            let connections = Arc::clone(&self.connections);
            let started = match listener {
                Listener::Tcp(listener) => {
                    spawn("forward", move || accept_forever(&listener, to, &connections))
                }
                Listener::Udp(socket) => {
                    spawn("forward", move || udp::forward_forever(&socket, to, &connections))
                }
            };
            started.map_err(|error| {
                Failure::new(ErrorCode::System, format!("cannot start a thread: {error}"))
            })?;
        }
        self.ports.store(count, Ordering::Relaxed);
        Ok(())
    }
}

fn listen(asked: &Forward) -> Result<(Listener, SocketAddr), Failure> {
    let address = |text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|_| Failure::new(ErrorCode::Protocol, format!("{text:?} is not ADDRESS:PORT")))
    };
    let (on, to) = (address(&asked.listen)?, address(&asked.to)?);
    let listener = bind(on, asked.udp).map_err(|error| {
        let code = match error.raw_os_error() {
            Some(number) if number == rustix::io::Errno::ADDRINUSE.raw_os_error() => {
                ErrorCode::AddressInUse
            }
            _ => ErrorCode::System,
        };
        Failure::new(code, format!("cannot listen on {on}: {error}"))
    })?;
    Ok((listener, to))
}

/// Listens. An unspecified address listens on IPv4 and IPv6 if the pod has both, because
/// `localhost` often resolves to `::1`.
fn bind(on: SocketAddr, udp: bool) -> io::Result<Listener> {
    let one = |on: SocketAddr| {
        if udp {
            UdpSocket::bind(on).map(Listener::Udp)
        } else {
            TcpListener::bind(on).map(Listener::Tcp)
        }
    };
    if on.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return one(on);
    }
    let both = one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, on.port())));
    // The second attempt reports any other error, too.
    both.or_else(|_| one(on))
}

fn accept_forever(listener: &TcpListener, to: SocketAddr, connections: &Arc<AtomicUsize>) {
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                if let Some(slot) = Slot::take(connections, MAX_CONNECTIONS) {
                    // Without a thread the connection closes.
                    drop(spawn("forward", move || {
                        join(client, to);
                        drop(slot);
                    }));
                }
            }
            Err(_) => thread::sleep(ACCEPT_RETRY_INTERVAL),
        }
    }
}

/// Copies data between a client and the target until both directions are closed.
fn join(client: TcpStream, to: SocketAddr) {
    let Ok(server) = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT) else { return };
    for stream in [&client, &server] {
        // Sends small writes without delay; a failure only delays them.
        drop(stream.set_nodelay(true));
    }
    let (Ok(client_half), Ok(server_half)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let answers = spawn("forward", move || pump(server_half, client_half));
    if answers.is_ok() {
        pump(client, server);
    }
    // Only this thread holds the permit; the other thread ends together with it.
    if let Ok(answers) = answers {
        drop(answers.join());
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    // However the copy ended, `to` gets no more data, and `from` is not read any more.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process;
    use std::sync::atomic::AtomicU16;

    use super::*;

    /// An address that nobody else has: of this process, each time another one, and with a port that the
    /// kernel does not choose by itself (`ip_local_port_range`, ip(7)).
    pub(super) fn own_address() -> SocketAddr {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let [.., high, low] = process::id().to_be_bytes();
        SocketAddr::from(([127, 77, high, low], NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn forward_to(to: SocketAddr) -> SocketAddr {
        let listen = own_address();
        let asked = Forward { listen: listen.to_string(), to: to.to_string(), udp: false };
        Forwards::default().start(&[asked]).expect("started");
        listen
    }

    #[test]
    fn an_answer_comes_after_the_question_was_closed() {
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        let forward = forward_to(target.local_addr().expect("an address"));
        let server = thread::spawn(move || {
            let (mut stream, _) = target.accept().expect("a connection");
            let mut question = Vec::new();
            stream.read_to_end(&mut question).expect("the question");
            stream.write_all(&question.repeat(2)).expect("the answer");
        });
        let mut stream = TcpStream::connect(forward).expect("connected");
        stream.write_all(b"ping").expect("written");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer");
        assert_eq!(answer, b"pingping");
        server.join().expect("no panic");
    }

    #[test]
    fn a_target_that_is_not_there_closes_the_connection() {
        let forward = forward_to(own_address());
        let mut stream = TcpStream::connect(forward).expect("connected");
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn a_port_that_is_taken_is_said_to_be() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = taken.local_addr().expect("an address").to_string();
        let asked = Forward { listen, to: "127.0.0.1:1".to_owned(), udp: false };
        let failure = Forwards::default().start(&[asked]).expect_err("a failure");
        assert_eq!(failure.code, ErrorCode::AddressInUse);
    }

    #[test]
    fn any_address_is_that_of_both_families() {
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = target.local_addr().expect("an address").to_string();
        // Of all addresses somebody may have it: the next one, then.
        let started = |port: &u16| {
            let asked = Forward { listen: format!("0.0.0.0:{port}"), to: to.clone(), udp: false };
            let failure = Forwards::default().start(&[asked]).err();
            let code = failure.map(|failure| failure.code);
            assert!(matches!(code, None | Some(ErrorCode::AddressInUse)), "{code:?}");
            code.is_none()
        };
        let port = (0..100).map(|_| own_address().port()).find(started).expect("started");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("connected");
        }
    }

    #[test]
    fn slots_are_given_back() {
        let count = Arc::default();
        let first = Slot::take(&count, 1);
        assert!(first.is_some());
        assert!(Slot::take(&count, 1).is_none());
        drop(first);
        assert!(Slot::take(&count, 1).is_some());
    }
}

//! Whether services listen on the ports that they declare: by connecting, in the network that all
//! containers of the pod share.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{Port, Protocol};

/// Pause between attempts to connect; short, because the other end is in the same network
/// namespace.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A socket with a full backlog answers late.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait for the other ports once one listens: images declare ports on which nothing
/// listens.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// The TCP ports inside the container.
pub(super) fn tcp(ports: &[Port]) -> Vec<u16> {
    let tcp = ports.iter().filter(|port| port.protocol == Protocol::Tcp);
    let mut ports: Vec<u16> = tcp.map(|port| port.container).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether any of the ports accepts a connection now.
pub(super) async fn any(ports: &[u16]) -> bool {
    for port in ports {
        if accepts(*port).await {
            return true;
        }
    }
    false
}

/// Waits until each port accepts connections, or one does and [`REST_TIMEOUT`] has passed; returns
/// the ports that do not.
pub(super) async fn most(ports: &[u16]) -> Vec<u16> {
    let mut silent = ports.to_vec();
    let mut until: Option<Instant> = None;
    loop {
        let mut left = Vec::new();
        for port in &silent {
            if !accepts(*port).await {
                left.push(*port);
            }
        }
        if left.len() < silent.len() && until.is_none() {
            until = Some(Instant::now() + REST_TIMEOUT);
        }
        silent = left;
        if silent.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
            return silent;
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    matches!(timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::net::TcpSocket;

    use super::*;

    /// A port on which nobody listens, nor anybody else can while the socket is there.
    fn reserved() -> (TcpSocket, u16) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    #[test]
    fn only_tcp_is_waited_for() {
        let ports = ["8080:80", "80", "53:53/udp", "90-91"].map(|text| Port::parse(text).unwrap());
        assert_eq!(tcp(&ports.concat()), [80, 90, 91]);
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_given_up_soon_after_another_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let (_reserved, closed) = reserved();
        assert!(any(&[closed, open]).await && !any(&[closed]).await);
        assert_eq!(most(&[open]).await, Vec::<u16>::new());
        assert_eq!(most(&[closed, open]).await, [closed]);
    }

    #[tokio::test]
    async fn nothing_is_settled_before_a_port_listens() {
        let (socket, late) = reserved();
        let listens = async {
            sleep(Duration::from_millis(100)).await;
            socket.listen(1).unwrap()
        };
        let ports = [late];
        let (silent, _listener) = tokio::join!(most(&ports), listens);
        assert_eq!(silent, Vec::<u16>::new());
    }
}

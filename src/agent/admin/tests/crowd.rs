//! Many clients: clients that keep connections open, slow ones, and ones that scrape without
//! permission.

use ephemon_self_metrics::Closed;

use super::*;
use crate::admin::seats::{MAX_CONNECTIONS, MAX_PER_PEER};

/// Number of clients that keep connections open at once.
const CROWD: usize = 1000;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_mins(5);

/// Long time limits, so that none is reached.
const PATIENT: Patience =
    Patience { first_byte: LONG, head: LONG, kept: LONG, stall: LONG, answer: LONG };

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: Prometheus/3.5.0\r\n\r\n";

async fn with_patience(patience: Patience) -> Server {
    server_with(|admin| Admin { patience, ..admin }).await
}

async fn connect_from(server: &Server, last: u8) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(server.address).await.unwrap()
}

async fn probes_are_answered(server: &Server) {
    for path in ["/healthz", "/readyz"] {
        let answer = soon(server.get(path, "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn probes_are_answered_while_a_thousand_silent_peers_of_one_address_hold_on() {
    // Room alone cuts them off, however long it takes.
    let server = with_patience(PATIENT).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    probes_are_answered(&server).await;
    let cut = server.self_metrics.connections_closed_so_far(Closed::Room);
    assert!(cut >= (CROWD - MAX_PER_PEER) as u64, "{cut}");
}

#[tokio::test]
async fn probes_and_the_scraper_are_answered_while_slow_peers_of_many_addresses_hold_on() {
    let server = with_patience(PATIENT).await;
    let mut scraper = TcpStream::connect(server.address).await.unwrap();
    ask_on(&mut scraper, SCRAPE).await.unwrap();
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        let last = u8::try_from(2 + n % 250).unwrap();
        let mut peer = connect_from(&server, last).await;
        // Some send half a request, others do not read all of the response.
        match n % 3 {
            0 => peer.write_all(b"GET /healthz HT").await.unwrap_or_default(),
            1 => peer.write_all(SCRAPE.as_bytes()).await.unwrap_or_default(),
            _ => {}
        }
        crowd.push(peer);
    }
    probes_are_answered(&server).await;
    let again = soon(ask_on(&mut scraper, SCRAPE)).await;
    assert!(again.unwrap().starts_with("HTTP/1.1 200 "));
    let cut = server.self_metrics.connections_closed_so_far(Closed::Room);
    assert!(cut >= (CROWD - MAX_CONNECTIONS) as u64, "{cut}");
}

// --- time

#[tokio::test]
async fn a_peer_that_sends_nothing_is_hung_up_on() {
    let server = with_patience(Patience { first_byte: SHORT, ..PATIENT }).await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(soon(peer.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(server.self_metrics.connections_closed_so_far(Closed::Silent), 1);
}

#[tokio::test]
async fn a_request_that_never_ends_is_hung_up_on_though_it_goes_on() {
    let server = with_patience(Patience { head: SHORT, ..PATIENT }).await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    peer.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
    let mut drops = interval(SHORT / 10);
    soon(async {
        loop {
            let mut some = [0];
            tokio::select! {
                // Both kinds of close: data that the client sent was not read completely.
                read = peer.read(&mut some) => break assert!(read.is_err() || read.unwrap() == 0),
                _ = drops.tick() => peer.try_write(b"y").map(drop).unwrap_or_default(),
            }
        }
    })
    .await;
    assert_eq!(server.self_metrics.connections_closed_so_far(Closed::SlowRequest), 1);
}

#[tokio::test]
async fn a_connection_that_is_kept_is_let_go_without_a_word() {
    let server = with_patience(Patience { kept: SHORT, ..PATIENT }).await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    ask_on(&mut peer, SCRAPE).await.unwrap();
    assert_eq!(soon(peer.read(&mut [0])).await.unwrap(), 0);
    for why in Closed::ALL {
        assert_eq!(server.self_metrics.connections_closed_so_far(why), 0, "{why:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_or_read_too_slowly_is_given_up() {
    let not_read = Patience { stall: SHORT, ..PATIENT };
    let too_slowly = Patience { answer: SHORT, ..PATIENT };
    for patience in [not_read, too_slowly] {
        let server = with_patience(patience).await;
        server.enter_ended(large());
        let mut peer = TcpStream::connect(server.address).await.unwrap();
        peer.write_all(SCRAPE.as_bytes()).await.unwrap();
        let mut looks = interval(SHORT / 10);
        soon(async {
            while server.self_metrics.connections_closed_so_far(Closed::SlowReader) == 0 {
                looks.tick().await;
                if patience.answer == SHORT {
                    peer.read_exact(&mut [0; 16]).await.map(drop).unwrap_or_default();
                }
            }
        })
        .await;
        assert_eq!(server.readings.snapshot().containers.len(), 1);
    }
}

// --- scrapers

#[tokio::test]
async fn a_stranger_who_looks_like_the_scraper_takes_nothing_from_it() {
    let server = server().await;
    let mut scraper = TcpStream::connect(server.address).await.unwrap();
    ask_on(&mut scraper, SCRAPE).await.unwrap();
    server.enter_ended(Usage::default());
    // On one connection, on many, and with many names.
    let mut stranger = TcpStream::connect(server.address).await.unwrap();
    for n in 0..100 {
        ask_on(&mut stranger, SCRAPE).await.unwrap();
        server.get("/metrics", "User-Agent: Prometheus/3.5.0\r\n").await;
        server.get("/metrics", &format!("User-Agent: stranger {n}\r\n")).await;
    }
    server.metrics.sweep();
    for _ in 0..2 {
        let answer = ask_on(&mut scraper, SCRAPE).await.unwrap();
        assert!(answer.contains("container=\"a0a0a0a0a0a0\""), "{answer}");
    }
}

#[tokio::test]
async fn a_scraper_that_comes_back_on_another_connection_is_the_same() {
    let server = server().await;
    server.enter_ended(Usage::default());
    for _ in 0..2 {
        let mut scraper = TcpStream::connect(server.address).await.unwrap();
        let answer = ask_on(&mut scraper, SCRAPE).await.unwrap();
        assert!(answer.contains("container=\"a0a0a0a0a0a0\""), "{answer}");
        scraper.shutdown().await.unwrap();
        assert_eq!(scraper.read(&mut [0]).await.unwrap(), 0);
    }
    // The server's tasks end after their sockets are closed.
    while !server.readings.snapshot().containers.is_empty() {
        server.metrics.sweep();
        tokio::task::yield_now().await;
    }
}

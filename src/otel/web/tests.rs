//! Connections that a server closes without an answer.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup";

/// Asks a server that closes so many connections when a request has come, and answers on the next one.
fn asked(closes: usize) -> Result<(StatusCode, Bytes), WebError> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let mut client = client.expect("a connection");
            let length = client.read(&mut [0; 1024]).expect("a request");
            assert!(length > 0, "a request");
            if number >= closes {
                client.write_all(ANSWER).expect("an answer");
            }
        }
    });
    let base = format!("http://{address}").parse().expect("a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = WebClient::new(base, None, None, Duration::from_mins(1), |_| None);
        client.expect("a client").get(Asked { path: "/", accept: "*/*", most: 1024 }).await
    })
}

#[test]
fn a_connection_that_is_closed_without_an_answer_is_tried_again_once() {
    let (status, body) = asked(1).expect("an answer");
    assert_eq!((status, &*body), (StatusCode::OK, &b"up"[..]));
    let error = asked(2).expect_err("closed twice").to_string();
    assert!(error.contains("closed before message completed"), "{error}");
}

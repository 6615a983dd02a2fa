//! Who may speak over the socket, and what becomes of those who should not.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ephemon_contract::{
    End, ErrorCode, Hello, PROTOCOL_VERSION, Proof, Reply, Request, Stop, Token,
};

use super::harness::{self, Client, Init, Start, shell};

#[test]
fn a_wrong_proof_or_version_or_order_is_refused() {
    let init = Init::start(Start::Plain, &[]);
    let code = |mut client: Client, request: &Request| match client.ask(request) {
        Reply::Error(failure) => {
            assert!(client.is_closed());
            failure.code
        }
        other => panic!("{other:?}"),
    };
    let hello = Request::Hello(Hello { version: 9, key: [9; 32] });
    assert_eq!(code(init.connect(), &hello), ErrorCode::Version);
    let hello = Request::Hello(Hello { version: PROTOCOL_VERSION, key: [0; 32] });
    assert_eq!(code(init.connect(), &hello), ErrorCode::Protocol);
    assert_eq!(code(init.connect(), &Request::Run(shell("true"))), ErrorCode::Protocol);
    assert_eq!(code(init.connect(), &Request::Stop(Stop { grace_ms: 0 })), ErrorCode::Protocol);
    // Of those who have the container's key, none is served but who can sign.
    let made = init.path("made");
    let run = Request::Run(shell(&format!("touch {}", made.display())));
    for instead in [Request::Proof(Proof { signature: [7; 64] }), run] {
        let mut client = init.connect();
        client.agree(&harness::token()).expect("keys");
        assert!(matches!(client.receive(), Some(Reply::Welcome(_))));
        assert_eq!(code(client, &instead), ErrorCode::Unauthorized);
    }
    let mut earlier = init.connect();
    let signature = earlier.agree(&harness::token()).expect("keys");
    let mut client = init.connect();
    client.agree(&harness::token()).expect("keys");
    assert!(matches!(client.receive(), Some(Reply::Welcome(_))));
    assert_eq!(code(client, &Request::Proof(Proof { signature })), ErrorCode::Unauthorized);
    assert_eq!(init.client().run(&shell("exit 3")).exit().end, End::Code(3));
    assert!(!made.exists());
}

/// One that knows another job's token can neither read what init says nor be understood.
#[test]
fn a_stranger_learns_nothing_and_is_not_understood() {
    let init = Init::start(Start::Plain, &[]);
    let (made, mut client) = (init.path("made"), init.connect());
    let signature = client.agree(&Token::from_random([1; 32])).expect("keys");
    client.send(&Request::Proof(Proof { signature }));
    client.send(&Request::Run(shell(&format!("touch {}", made.display()))));
    let mut heard = Vec::new();
    // What comes after its key is sealed with one that a stranger does not have.
    client.stream.read_to_end(&mut heard).ok();
    assert!(!heard.windows(3).any(|bytes| bytes == b"job"), "{heard:?}");
    assert_eq!(init.client().run(&shell("exit 3")).exit().end, End::Code(3));
    assert!(!made.exists());
}

#[test]
fn a_uid_that_is_neither_the_hooks_nor_ours_is_refused() {
    let init = Init::start(Start::Plain, &[("EPHEMON_PEER_UID", "12345")]);
    // Root and our own uid are served whatever the hook's is.
    assert_eq!(init.client().run(&shell("exit 0")).exit().end, End::Code(0));
    if !harness::is_root() {
        return;
    }
    fs::set_permissions(init.root(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let reply = harness::connect_as(54321, &init).greet();
    assert!(
        matches!(&reply, Some(Reply::Error(failure)) if failure.code == ErrorCode::Unauthorized),
        "{reply:?}"
    );
}

#[test]
fn garbage_and_silence_close_only_their_own_connection() {
    let init = Init::start(Start::Plain, &[]);
    let mut good = init.client();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0, 0, 0, 0], &[1, 0, 0, 0, 99]]
    {
        let mut client = init.connect();
        client.send_bytes(garbage);
        client.drain();
    }
    let mut trusted = init.client();
    trusted.send_bytes(&[0xff; 64]);
    trusted.drain();
    let mut half = init.connect();
    half.send_bytes(&[10]);
    drop(half);
    assert_eq!(good.run(&shell("exit 9")).exit().end, End::Code(9));
}

#[test]
fn many_clients_are_served_and_too_many_are_told() {
    let init = Init::start(Start::Plain, &[]);
    let threads: Vec<_> = (0..24_u8)
        .map(|n| {
            let mut client = init.client();
            std::thread::spawn(move || client.run(&shell(&format!("echo {n}; exit {n}"))))
        })
        .collect();
    for (n, thread) in (0_u8..).zip(threads) {
        let step = thread.join().expect("no panic");
        assert_eq!(step.exit().end, End::Code(n));
        assert_eq!(step.stdout, format!("{n}\n").as_bytes());
    }
    let held: Vec<Client> = (0..64).map(|_| init.client_when_free()).collect();
    let reply = init.connect().receive();
    assert!(
        matches!(&reply, Some(Reply::Error(failure)) if failure.code == ErrorCode::Busy),
        "{reply:?}"
    );
    drop(held);
    assert_eq!(init.client_when_free().run(&shell("exit 1")).exit().end, End::Code(1));
}

#[test]
fn steps_run_beside_each_other() {
    let init = Init::start(Start::Plain, &[]);
    let (first, second) = (init.path("first"), init.path("second"));
    let script = |mine: &Path, other: &Path| {
        shell(&format!(
            "echo x > {}; while [ ! -e {} ]; do sleep 0.01; done",
            mine.display(),
            other.display()
        ))
    };
    let mut clients = [init.client(), init.client()];
    clients[0].send(&Request::Run(script(&first, &second)));
    clients[1].send(&Request::Run(script(&second, &first)));
    for client in &mut clients {
        assert_eq!(client.finish().exit().end, End::Code(0));
    }
}

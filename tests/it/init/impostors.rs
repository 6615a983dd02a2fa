//! Another container of the pod in the place of init's socket: what it sees, what it can do with it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use ephemon_contract::{End, Request, Run, Stop, Volume, env};

use super::harness::{self, Init, Start, shell};
use crate::support::relay::Relay;

const SECRET: &str = "ghs_only_for_this_step";

/// A step with a secret in its environment and its output, which leaves a line in a file.
fn step(made: &Path) -> Run {
    let script = format!("echo \"$TOKEN\"; echo ran >> {}", made.display());
    Run { env: vec![("TOKEN".to_owned(), SECRET.to_owned())], ..shell(&script) }
}

#[test]
fn what_a_relay_sees_shows_nothing_and_starts_nothing() {
    let init = Init::start(Start::Plain, &[]);
    let made = init.path("made");
    let relay = Relay::take(&init.socket());
    let mut client = init.client();
    let ran = client.run(&step(&made));
    assert_eq!(ran.stdout, format!("{SECRET}\n").as_bytes(), "it is passed on");
    drop(client);
    let said = relay.said();
    assert!(said.by_hook.len() > 100 && said.by_init.len() > 100, "{said:?}");
    for secret in [SECRET, "TOKEN", "ran", "made", "a step"] {
        assert!(!said.shows(secret), "{secret} in {said:?}");
    }
    // Said again, whole or in part, to the socket that was put aside.
    for from in [0, said.by_hook.len() / 2] {
        let mut again = UnixStream::connect(&relay.moved).unwrap();
        again.write_all(&said.by_hook[from..]).ok();
        again.shutdown(Shutdown::Write).ok();
        again.read_to_end(&mut Vec::new()).ok();
    }
    relay.give_back(&init.socket());
    assert_eq!(init.client().run(&shell("exit 4")).exit().end, End::Code(4));
    assert_eq!(fs::read_to_string(&made).unwrap(), "ran\n", "it ran once");
}

#[test]
fn a_relay_that_changes_a_byte_of_a_request_ends_the_connection() {
    let init = Init::start(Start::Plain, &[]);
    let made = init.path("made");
    // Hello and proof are 39 and 85 bytes with their lengths; what follows is the request.
    let relay = Relay::change(&init.socket(), |place, byte| *byte ^= u8::from(place == 150));
    let mut client = init.client();
    client.send(&Request::Run(step(&made)));
    client.drain();
    relay.give_back(&init.socket());
    assert_eq!(init.client().run(&shell("exit 4")).exit().end, End::Code(4));
    assert!(!made.exists());
    // A sealed request to stop was not made of it either.
    let mut client = init.client();
    client.send(&Request::Stop(Stop { grace_ms: 0 }));
    assert_eq!(init.wait(), 0);
}

/// Its environment is searched for secrets to mask, which are told where all containers may read.
#[test]
fn the_containers_key_is_given_to_nobody() {
    let variables = [(env::ROLE, "service"), ("API_KEY", "of-the-service")];
    let init = Init::start_with(Start::Plain, &variables, &["sh", "-c", "env; echo over"]);
    assert_eq!(init.wait(), 0);
    assert!(init.log("stdout").contains("over"));
    // As masks are written: this value in hex, and no other.
    let masks = fs::read_to_string(Volume::new(init.root()).container_masks("job")).unwrap();
    assert_eq!(masks, "\"6f662d7468652d73657276696365\"\n");
    let key = harness::token().container_key("job").expose();
    let mut directories = vec![init.root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                let text = fs::read(entry.path()).unwrap();
                let within = text.windows(key.len()).any(|part| part == key.as_bytes());
                assert!(!within, "{}", entry.path().display());
            }
        }
    }
}

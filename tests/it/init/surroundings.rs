//! What init does for steps beside running them: names, links, ports, health, users.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use ephemon_contract::{
    Command, End, ErrorCode, Exit, Forward, Health, HostEntry, Link, Present, Probe, Reply,
    Request, Run,
};

use super::harness::{self, Init, Start, shell};

#[test]
fn names_come_back_when_the_kubelet_has_rewritten_the_hosts_file() {
    let init = Init::start(Start::Plain, &[]);
    let entry = HostEntry { address: "127.0.0.1".to_owned(), names: vec!["redis".to_owned()] };
    assert_eq!(init.client().ask(&Request::Hosts(vec![entry])), Reply::Done);
    let hosts = init.path("hosts");
    let text = || fs::read_to_string(&hosts).expect("the file");
    assert!(text().contains("\tredis\t"));
    for round in 0..3 {
        fs::write(&hosts, format!("# round {round}\n")).expect("written");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !text().contains("\tredis\t") {
            assert!(Instant::now() < deadline, "{}", text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn links_and_ports_are_made() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    let path = init.path("link");
    let link = Link {
        path: path.display().to_string(),
        target: "/__w/_temp".to_owned(),
        present: Present::Refuse,
    };
    assert_eq!(client.ask(&Request::Links(vec![link])), Reply::Done);
    assert_eq!(fs::read_link(&path).expect("a link"), Path::new("/__w/_temp"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let forward = Forward { listen, to: "127.0.0.1:9".to_owned(), udp: false };
    let reply = client.ask(&Request::Forward(vec![forward]));
    assert!(
        matches!(&reply, Reply::Error(failure) if failure.code == ErrorCode::AddressInUse),
        "{reply:?}"
    );
}

#[test]
fn health_is_asked_until_it_is_known() {
    let init = Init::start(Start::Plain, &[]);
    let count = init.path("count");
    let health = |line: String, retries, timeout_ms| {
        let probe = Probe::Command(Command::Argv(vec!["sh".to_owned(), "-c".to_owned(), line]));
        Request::Health(Health { probe, interval_ms: 10, timeout_ms, retries, start_period_ms: 0 })
    };
    let mut client = init.client();
    let mut report = |request: &Request| match client.ask(request) {
        Reply::Health(report) => report,
        other => panic!("{other:?}"),
    };
    let third = format!("echo x >> {0}; [ $(wc -l < {0}) -ge 3 ]", count.display());
    let good = report(&health(third, 10, 20_000));
    assert!(good.healthy && good.probes == 3, "{good:?}");
    let bad = report(&health("echo not yet; exit 4".to_owned(), 2, 20_000));
    assert_eq!((bad.healthy, bad.probes, bad.text.as_str()), (false, 2, "exit code 4: not yet"));
    let slow = report(&health("sleep 1000".to_owned(), 1, 50));
    assert!(!slow.healthy && slow.text.starts_with("no answer within"), "{slow:?}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let probe = Probe::Tcp(listener.local_addr().expect("an address").to_string());
    let tcp = Health { probe, interval_ms: 10, timeout_ms: 1000, retries: 1, start_period_ms: 0 };
    assert!(report(&Request::Health(tcp)).healthy);
}

#[test]
fn a_step_runs_as_the_user_that_is_asked_for() {
    if !harness::is_root() {
        return;
    }
    let init = Init::start(Start::Plain, &[]);
    let as_user = |user: &str| Run { user: Some(user.to_owned()), ..shell("id -u; id -g") };
    let mut client = init.client();
    for (user, ids) in [("1234:5678", "1234\n5678\n"), ("nobody:0", "65534\n0\n")] {
        let step = client.run(&as_user(user));
        assert_eq!(String::from_utf8(step.stdout).expect("utf-8"), ids);
    }
}

#[test]
fn init_runs_as_any_user() {
    if !harness::is_root() {
        return;
    }
    let init = Init::start(Start::Uid(4242), &[]);
    let step = init.client().run(&shell("id -u; exit 6"));
    assert_eq!((step.stdout.as_slice(), step.exit().end), (&b"4242\n"[..], End::Code(6)));
    let user = Some("0".to_owned());
    let refused: Exit = *init.client().run(&Run { user, ..shell("id -u") }).exit();
    assert_eq!(refused.end, End::Code(126));
}

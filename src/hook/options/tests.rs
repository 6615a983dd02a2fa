//! Lines of options as they occur in workflows.

use super::*;
use proptest::prelude::*;

fn parse(line: &str) -> Result<Options, Error> {
    Options::parse(line, "redis:7")
}

fn read(line: &str) -> Options {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn left(options: &Options) -> Vec<&str> {
    options.left.iter().map(|left| left.option.as_str()).collect()
}

#[test]
fn a_usual_services_options_are_read() {
    let options = read(
        r#"--health-cmd "pg_isready -U me" --health-interval 10s --health-timeout=5s
           --health-retries 5 --health-start-period 1m30s --health-start-interval 1s --name db"#,
    );
    let health = HealthOptions {
        command: Some("pg_isready -U me".into()),
        interval_ms: Some(10_000),
        timeout_ms: Some(5000),
        start_period_ms: Some(90_000),
        retries: Some(5),
        disabled: false,
    };
    assert_eq!(options.health, health);
    assert_eq!(options.names, ["db"]);
    assert!(options.left.is_empty());
    // Zero selects Docker's defaults.
    let zero = "--health-cmd x --health-interval 0 --health-timeout 0s --health-retries 0";
    let health = HealthOptions { command: Some("x".into()), ..HealthOptions::default() };
    assert_eq!(read(zero).health, health);
}

#[test]
fn limits_are_read_in_dockers_grammar() {
    for (line, limits) in [
        ("--cpus 1.5 -m512m --pids-limit=100", "cpus=1500m,memory=536870912,pids=100"),
        ("--cpus .5 --memory 1.5g", "cpus=500m,memory=1610612736"),
        (r#"--memory "512 m" --memory-swap -1 --cpus 1"#, "cpus=1000m,memory=536870912"),
        ("-m 1GiB --memory 2g --memory-swap=4g", "memory=2147483648"),
        ("--cpu-quota 50000", "cpus=500m"),
        ("--cpu-period 50000 --cpu-quota 75000", "cpus=1500m"),
        ("--cpus 2 --cpu-quota 50000", "cpus=2000m"),
        ("--memory 0 --cpus 0 --pids-limit -1 --cpu-quota -1", ""),
        ("--memory 8000p --pids-limit 9999999999", ""),
    ] {
        assert_eq!(read(line).limits.to_string(), limits, "{line}");
    }
    assert_eq!(left(&read("--memory 1g --memory-swap -1")), ["--memory-swap"]);
}

#[test]
fn every_way_to_write_an_option_is_understood() {
    for line in [
        "--user 1000 --env A=b",
        "--user=1000 --env=A=b",
        "-u 1000 -e A=b",
        "-u1000 -eA=b",
        "-u=1000 -e=A=b",
        "-qu1000 --rm=true --privileged=false -e A=b",
        "--init=false -q=false -u 1000 --env A=b --",
        "--user\t1000\n--env A=b\n",
    ] {
        let options = read(line);
        assert_eq!(options.user.as_deref(), Some("1000"), "{line}");
        assert_eq!(options.env, [("A".to_owned(), "b".to_owned())], "{line}");
        assert!(
            options.left.is_empty() && !options.privileged && options.init != Some(true),
            "{line}"
        );
    }
    // The last one counts, and a value may look like an option.
    assert_eq!(read("--user a -ub --workdir --rm").user.as_deref(), Some("b"));
    assert_eq!(read("--workdir --rm").workdir.as_deref(), Some("--rm"));
    assert_eq!(read("-itu 7").user.as_deref(), Some("7"));
    assert_eq!(read("-e MSG=it's -e B={\\\"a\\\":1}").env[1].1, r#"{"a":1}"#);
}

#[test]
fn what_has_a_counterpart_is_kept() {
    let options = read(
        "--tmpfs /run:size=64m --mount type=tmpfs,dst=/t --shm-size 1g --ulimit nofile=1024:2048 \
         --ulimit core=-1 --init --ipc=host -v cache:/c:ro --mount type=bind,src=/a,dst=/b \
         -p 8080:80 --publish published=53,target=53,protocol=udp --cap-add CAP_NET_ADMIN \
         --cap-drop all --security-opt no-new-privileges --security-opt seccomp=unconfined \
         --network-alias a --net-alias b --hostname h --network name=x,alias=c --link db:d",
    );
    let shown = |all: &[Tmpfs]| all.iter().map(Tmpfs::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&options.tmpfs), ["/run:size=64m", "/t:"]);
    assert_eq!(options.shm.bytes, Some(1 << 30));
    let limits: Vec<String> = options.ulimits.iter().map(Ulimit::to_string).collect();
    assert_eq!(limits, ["nofile=1024:2048", "core=-1:-1"]);
    assert!(options.init == Some(true) && options.shm.is_hosts);
    let targets: Vec<_> = options.volumes.iter().map(|v| v.target_volume_path.as_str()).collect();
    assert_eq!((targets, options.volumes[0].read_only), (vec!["/c", "/b"], true));
    assert_eq!(options.publish, ["8080:80", "53:53/udp"]);
    assert_eq!((options.cap_add, options.cap_drop), (vec!["NET_ADMIN".into()], vec!["ALL".into()]));
    let security =
        Security { no_new_privileges: true, seccomp_unconfined: true, ..Security::default() };
    assert_eq!(options.security, security);
    assert_eq!(options.names, ["a", "b", "h", "c"]);
    assert_eq!(options.hosts, [("d".to_owned(), "127.0.0.1".to_owned())]);
    assert_eq!(left(&read("--network host")), ["--network"]);
}

#[test]
fn hosts_are_read_as_docker_reads_them() {
    for (line, host, address) in [
        ("--add-host=host.docker.internal:host-gateway", "host.docker.internal", "127.0.0.1"),
        ("--add-host db=10.0.0.1", "db", "10.0.0.1"),
        ("--add-host db:10.0.0.1", "db", "10.0.0.1"),
        ("--add-host db:::1", "db", "::1"),
        ("--add-host db=[0:0::1]", "db", "::1"),
    ] {
        assert_eq!(read(line).hosts, [(host.to_owned(), address.to_owned())], "{line}");
    }
    for bad in ["db", "db:", "db:host", ":1.2.3.4", "a:b=1.2.3.4", "db:1.2.3"] {
        let error = parse(&format!("--add-host {bad}")).unwrap_err();
        assert!(matches!(error, Error::Value { option: "--add-host", .. }), "{bad}: {error}");
    }
    // It would prevent all other names from being written.
    let odd = read("--add-host b(d:1.2.3.4 --add-host ok:1.2.3.4");
    assert_eq!((odd.hosts.len(), left(&odd)), (1, vec!["--add-host"]));
}

#[test]
fn what_is_not_carried_out_is_named_once_and_without_its_value() {
    let options = read(
        "--gpus all --secret-thing hunter2 -it --env TOKEN --device /dev/kvm --device=/dev/fuse \
         --dns 1.1.1.1 --dns-search x.y --label a=hunter2 -X hunter2 -Yhunter2 --other --user 1000 \
         --env-file hunter2 --restart always --platform linux/never --sysctl a=b hunter2",
    );
    let names = left(&options);
    let expected = [
        "--gpus",
        "--secret-thing",
        "--interactive",
        "--tty",
        "--env",
        "--device",
        "--dns",
        "--dns-search",
        "--label",
        "-X",
        "-Y",
        "--other",
        "--env-file",
        "--restart",
        "--platform",
        "--sysctl",
        "word 31",
    ];
    assert_eq!(names, expected);
    assert!(!format!("{:?}", options.left).contains("hunter2"));
    assert_eq!(options.user.as_deref(), Some("1000"));
    assert!(read("--rm -q -P --expose 80 --sig-proxy=false --platform linux").left.is_empty());
}

#[test]
fn an_image_in_the_options_begins_the_command() {
    let line = r#"--health-cmd "mysqladmin ping --silent" --entrypoint sh localhost:5000/wf/mysql:8.4 -c "exec docker-entrypoint.sh mysqld --x=ON""#;
    let options = Options::parse(line, "localhost:5000/wf/mysql:8.4").unwrap();
    let trailing = options.trailing.unwrap();
    assert_eq!(trailing.image, "localhost:5000/wf/mysql:8.4");
    assert_eq!(trailing.command, ["-c", "exec docker-entrypoint.sh mysqld --x=ON"]);
    assert_eq!(options.entrypoint.as_deref(), Some("sh"));
    assert!(options.left.is_empty());
    for (line, image) in [
        ("redis redis-server --port 7", "redis:7"),
        ("docker.io/library/redis:6 redis-server --port 7", "redis@sha256:ab"),
        ("--what redis redis-server --port 7", "redis"),
        ("-- redis redis-server --port 7", "redis"),
    ] {
        let trailing = Options::parse(line, image).unwrap().trailing.unwrap();
        assert_eq!(trailing.command, ["redis-server", "--port", "7"], "{line}");
    }
    assert_eq!(read("--name redis").trailing, None);
}

#[test]
fn a_word_that_docker_takes_for_another_image_is_an_error_that_does_not_repeat_it() {
    for line in ["--name a mysql:8", "-e A=hun ter/2", "8080:80", "-e A=x y@z"] {
        assert!(matches!(parse(line), Err(Error::OtherImage(_))), "{line}");
    }
    assert_eq!(parse("--name a b/c").unwrap_err(), Error::OtherImage(3));
    for line in ["--health-cmd 'redis-cli ping'", "--health-cmd='redis-cli ping'", "-e A='b c'"] {
        let error = parse(line).unwrap_err();
        assert!(matches!(error, Error::SingleQuote(_)), "{line}: {error}");
        assert!(!error.to_string().contains("ping"), "{error}");
    }
}

#[test]
fn a_value_that_docker_refuses_is_an_error_of_that_option() {
    assert_eq!(parse("--user"), Err(Error::NoValue("--user".into())));
    assert_eq!(parse("-itu"), Err(Error::NoValue("-u".into())));
    for bad in [
        "--cpus many",
        "--memory x",
        "--memory -1",
        "--memory-swap x",
        "--shm-size big",
        "--health-interval 5",
        "--health-interval -5s",
        "--health-retries -1",
        "--pull x",
        "--tmpfs run",
        "--ulimit nofile",
        "--ulimit nofile=2:1",
        "-v a:b",
        "--mount type=bind",
        "--privileged=yes",
        "-t=maybe",
        "--pids-limit 1.5",
    ] {
        assert!(matches!(parse(bad), Err(Error::Value { .. })), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in "[-a-z0-9= \"'.:,/µ@\\\\\n]{0,80}|.{0,80}", image in ".{0,12}") {
        drop(Options::parse(&line, &image));
    }

    #[test]
    fn no_known_option_makes_it_panic(
        name in prop::sample::select(vec![
            "--add-host", "--memory", "--cpus", "--ulimit", "--tmpfs", "--mount", "-v", "-p",
            "--health-interval", "--security-opt", "--network", "--link", "--platform", "-e",
        ]),
        value in ".{0,30}",
        equals in any::<bool>(),
    ) {
        let line = format!("{name}{}\"{}\"", if equals { "=" } else { " " }, value);
        drop(Options::parse(&line, "redis"));
    }
}

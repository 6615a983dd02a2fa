//! Options and arguments of real workflows, and the resulting containers.

use super::*;

fn with(role: Role, options: &str) -> Planned {
    plan(role, json!({"image": "a", "createOptions": options})).unwrap()
}

/// A service with an entrypoint, so that init is its first process.
fn with_init(options: &str) -> Planned {
    let asked = json!({"image": "a", "entryPoint": "x", "createOptions": options});
    plan(Role::Service, asked).unwrap()
}

fn warned(planned: &Planned, words: &str) -> bool {
    planned.warnings.iter().any(|warning| warning.contains(words))
}

#[test]
fn dockers_sizes_become_limits() {
    for (options, limits) in [
        ("--cpus 1.5 --memory 1.5g", "cpus=1500m,memory=1610612736"),
        (r#"--memory "512 m""#, "memory=536870912"),
        ("--memory 1GiB --memory-swap -1", "memory=1073741824"),
    ] {
        let job = with(Role::Job, options);
        assert_eq!(env_of(&job).remove(env::LIMITS).as_deref(), Some(limits), "{options}");
    }
}

#[test]
fn host_gateway_costs_no_other_name_and_leads_to_the_pod() {
    let job = with(Role::Job, "--add-host=host.docker.internal:host-gateway --hostname box");
    let host = |name: &str| (name.to_owned(), "127.0.0.1".to_owned());
    assert_eq!(job.hosts, [host("host.docker.internal"), host("box")]);
    assert!(job.warnings.is_empty(), "{:?}", job.warnings);
}

#[test]
fn an_image_and_a_command_in_the_options_are_run() {
    let image = "localhost/wf/mysql:8.4";
    let line = format!(
        r#"--health-cmd "mysqladmin ping --silent" --entrypoint sh {image} -c "exec docker-entrypoint.sh mysqld --mysql-native-password=ON""#
    );
    let asked = json!({"image": image, "createOptions": line, "portMappings": ["3306:3306"]});
    let service = plan(Role::Service, asked).unwrap();
    let command = ["sh", "-c", "exec docker-entrypoint.sh mysqld --mysql-native-password=ON"];
    assert_eq!(service.spec.command.as_ref().unwrap()[2..], command);
    assert_eq!(
        (service.image.as_str(), service.names.as_slice()),
        (image, &["mysql".to_owned()][..])
    );
    assert!(warned(&service, "command:") && service.warnings.len() == 1, "{:?}", service.warnings);
    // Without an entrypoint the words are the arguments of the image's own.
    let plain = with(Role::Service, "a:2 --appendonly yes");
    assert_eq!(plain.spec.args.as_ref().unwrap(), &["--appendonly", "yes"]);
    assert_eq!(plain.image, "a:2");
    assert!(warned(&with(Role::Job, "a sleep 1"), "is not run"));
}

#[test]
fn the_later_of_two_settings_counts_as_in_docker() {
    let asked = json!({"image": "redis:7.0", "createOptions": "-e OVER=options -e CI=x -e GITHUB_ACTIONS=no",
        "environmentVariables": {"CI": "false", "OVER": "env"}});
    for role in [Role::Job, Role::Service] {
        let planned = plan(role, asked.clone()).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(planned.env, [pair("CI", "false"), pair("OVER", "env")]);
        // A value in the spec would take precedence over a Secret.
        let spec = env_of(&planned);
        assert!(!spec.contains_key("CI"), "{spec:?}");
        assert_eq!(spec.get("GITHUB_ACTIONS").map(String::as_str), Some("true"));
    }
    let usual = with(Role::Service, "-e CI=x -e A=b");
    assert_eq!(usual.env, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(env_of(&usual).get("CI").map(String::as_str), Some("true"));
    // The runner adds `--entrypoint` after the options.
    let asked = json!({"image": "a", "entryPoint": "x", "createOptions": "--entrypoint y"});
    assert_eq!(plan(Role::Step, asked).unwrap().main.unwrap(), ["x"]);
}

#[test]
fn arguments_are_split_as_the_runners_own_runtime_splits_them() {
    for (pieces, words) in [
        (&[r#""-c""#, r#""echo"#, r#"\$HOME""#][..], &["-c", r"echo \$HOME"][..]),
        (&["-c", r"'a"], &["-c", "'a"]),
        (&[r#""say"#, r#"""hi""""#], &[r#"say "hi""#]),
    ] {
        let asked = json!({"image": "a", "entryPoint": "/bin/sh", "entryPointArgs": pieces});
        let step = plan(Role::Step, asked).unwrap();
        assert_eq!(step.main.unwrap()[1..], *words);
    }
    let script = "for i in 1; do\n  echo a \\\n    b\n  echo c\ndone\n";
    let pieces = json!([
        "\"-ce\"",
        "\"for",
        "i",
        "in",
        "1;",
        "do",
        "echo",
        "a",
        "\\",
        "b",
        "echo",
        "c\ndone\n\""
    ]);
    let asked = json!({"image": "a", "entryPoint": "/bin/sh", "entryPointArgs": pieces,
        "environmentVariables": {"INPUT_RUN": script}});
    assert_eq!(plan(Role::Step, asked).unwrap().main.unwrap(), ["/bin/sh", "-ce", script]);
}

#[test]
fn an_empty_entrypoint_leaves_the_arguments_to_be_the_command() {
    let asked = |args: Value| json!({"image": "a", "entryPointArgs": args, "createOptions": "--entrypoint=\"\""});
    let service = plan(Role::Service, asked(json!(["redis-server", "--port", "7"]))).unwrap();
    assert_eq!(service.spec.command.unwrap()[1..], ["--", "redis-server", "--port", "7"]);
    assert!(!plan(Role::Service, asked(json!([]))).unwrap().has_init);
}

#[test]
fn init_is_told_what_it_can_carry_out() {
    let line = "--ulimit nofile=1:2 --tmpfs /$x:size=1m --shm-size 128m --init --user postgres";
    let service = with_init(line);
    let command = [
        "/ephemon/bin/ephemon-init",
        "--ulimit",
        "nofile=1:2",
        "--tmpfs",
        "/$$x:size=1m",
        "--shm-size",
        "134217728",
        "--user",
        "postgres",
        "--",
        "x",
    ];
    assert_eq!(service.spec.command.as_ref().unwrap(), &command);
    assert!(service.warnings.is_empty(), "{:?}", service.warnings);
    let job = with(Role::Job, line);
    assert_eq!(job.spec.command.unwrap()[1..], command[1..7]);
    assert_eq!(job.user.as_deref(), Some("postgres"));
    // With the image's own entrypoint there is no init.
    let plain = with(Role::Service, line);
    assert_eq!(plain.spec.command, None);
    for option in ["--ulimit", "--tmpfs", "--shm-size", "--init", "--user"] {
        assert!(warned(&plain, &format!("option {option} of a is ignored")), "{option}");
    }
    assert_eq!(plain.warnings.len(), 5);
    assert!(with(Role::Service, "--shm-size 64m").warnings.is_empty());
}

#[test]
fn shared_memory_is_a_volume_of_the_pod_where_it_has_one() {
    let volumes = json!([{"name": "ephemon-shm", "emptyDir": {"medium": "Memory"}}]);
    let shm = |options: &str| {
        let asked = json!({"image": "a", "createOptions": options});
        let planned = plan_in(&volumes, Role::Service, asked).unwrap();
        assert!(planned.warnings.is_empty(), "{:?}", planned.warnings);
        planned.spec.volume_mounts.unwrap_or_default()
    };
    for options in ["--shm-size 1g", "--ipc=host"] {
        let mounts = shm(options);
        assert_eq!((mounts.len(), mounts[0].mount_path.as_str()), (1, "/dev/shm"), "{options}");
    }
    assert!(shm("--shm-size 64m").is_empty());
    let on_disk = json!([{"name": "ephemon-shm", "emptyDir": {}}]);
    let asked = json!({"image": "a", "createOptions": "--shm-size 1g"});
    let planned = plan_in(&on_disk, Role::Service, asked).unwrap();
    assert!(planned.spec.volume_mounts.is_none() && warned(&planned, "ephemon-shm"));
}

#[test]
fn volumes_of_the_options_are_mounted_or_named() {
    let volumes = json!([{"name": "cache", "emptyDir": {}}]);
    let line = "-v cache:/c:ro --mount type=volume,src=cache,dst=/d -v /etc:/host -v /anonymous";
    let asked = json!({"image": "a", "createOptions": line});
    let planned = plan_in(&volumes, Role::Service, asked).unwrap();
    let mounts = planned.spec.volume_mounts.clone().unwrap();
    let paths: Vec<&str> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
    assert_eq!((paths, mounts[0].read_only), (vec!["/c", "/d"], Some(true)));
    assert!(
        warned(&planned, "--volume") && warned(&planned, "/etc:/host"),
        "{:?}",
        planned.warnings
    );
}

#[test]
fn privileges_that_are_not_given_are_said_and_fail_nothing() {
    for options in ["--privileged", "--cap-add=sys_nice", "--security-opt seccomp=unconfined"] {
        let job = with(Role::Job, options);
        assert_eq!(job.spec.security_context, None, "{options}");
        assert!(warned(&job, "EPHEMON_ALLOW_PRIVILEGED"), "{options}");
    }
    // Otherwise it could not write where it must.
    let service = with(Role::Service, "--read-only --tmpfs /run");
    assert!(service.spec.security_context.is_none() && warned(&service, "--read-only"));
    let service = with(Role::Service, "--read-only");
    assert_eq!(service.spec.security_context.unwrap().read_only_root_filesystem, Some(true));
}

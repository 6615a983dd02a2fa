//! Services: by name, on localhost, through a forwarder; with secrets, health and logs.

use serde_json::{Value, json};

use super::runner::{Called, Runner, container, job, prepared_in_time};
use super::site::Site;
use crate::support::workflow_images::BUSYBOX;

/// What the hook says of a health command that it could not run through a busy API server.
const NOT_RUN: [&str; 3] = [
    "cannot reach the API server to",
    "retries did not help",
    "the connection closed before the command ended",
];

/// A web server that shows its name, by init.
fn web(name: &str, ports: &str) -> Value {
    let inside = ports.rsplit(':').next().unwrap();
    let script = format!("echo {name} > /srv/who; exec httpd -f -p {inside} -h /srv");
    container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", format!("\"{script}\"")],
            "portMappings": [ports], "createOptions": format!("--name {name}"),
        }),
    )
}

/// Asks each address and shows the answers.
fn asking(addresses: &[&str]) -> String {
    addresses.iter().fold(String::new(), |script, address| {
        script + &format!("wget -qO- http://{address}/who || echo no {address}\n")
    })
}

fn action(runner: &Runner, state: &Value, script: &str) -> Called {
    let over = json!({"entryPoint": "sh", "entryPointArgs": ["-c", format!("\"{script}\"")]});
    runner.call("run_container_step", &container(BUSYBOX, &over), state)
}

#[test]
fn services_are_found_by_name_from_every_container_whatever_starts_after() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state =
        runner.prepare_called(&job(BUSYBOX, ""), &[web("one", "8080:80"), web("two", "81")]);
    assert_eq!(state.code, 0, "{state:?}");
    let services = &state.json()["context"]["services"];
    assert_eq!(
        [&services[0]["ports"], &services[1]["ports"]],
        [&json!({"80": "8080"}), &json!({"81": "81"})]
    );
    let state = state.json()["state"].clone();
    let everywhere =
        asking(&["localhost:8080", "localhost:80", "one", "one:8080", "two:81", "busybox-2:81"]);
    let answers = "one\none\none\none\ntwo\ntwo\n";
    // The start of each container has the hosts file written anew.
    for round in 0..3 {
        let step = runner.script(&state, &everywhere);
        assert_eq!((step.code, step.stdout.as_str()), (0, answers), "{round}: {step:?}");
        let step = action(&runner, &state, &everywhere);
        assert_eq!((step.code, step.printed().as_str()), (0, answers), "{round}: {step:?}");
    }
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert!(cleaned.code == 0 && cleaned.stdout.contains("Log of service busybox"), "{cleaned:?}");
}

#[test]
fn services_of_a_job_without_a_container_are_reached_at_low_ports_and_by_name() {
    let Some(site) = Site::start() else { return };
    let (runner, prepared) = prepared_in_time(Called::has_slow_service, |number| {
        let runner = site.runner(&format!("runner-{number}"));
        let services = [web("one", "80:8081"), web("two", "82")];
        let prepared = runner.prepare_called(&Value::Null, &services);
        (runner, prepared)
    });
    assert_eq!(prepared.warnings(), [""; 0], "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let everywhere = asking(&["localhost:80", "one", "one:8081", "two:82"]);
    for round in 0..2 {
        let step = action(&runner, &state, &everywhere);
        assert_eq!(
            (step.code, step.printed().as_str()),
            (0, "one\none\none\ntwo\n"),
            "{round}: {step:?}"
        );
    }
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    assert_eq!(site.end_of("runner-1", "network"), (0, "Completed".to_owned()));
}

#[test]
fn a_health_command_runs_by_exec_in_a_service_of_its_images_own_entrypoint() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let script = "\"sleep 1; echo ready > /srv/who; exec httpd -f -p 80 -h /srv\"";
    let service = |options: &str| {
        container(
            BUSYBOX,
            &json!({"entryPointArgs": ["sh", "-c", script], "createOptions": options}),
        )
    };
    let options = "--health-cmd \"wget -qO- http://localhost/who || exit 1\" --health-interval 1s --health-retries 30";
    let state = runner.prepare(&job(BUSYBOX, ""), &[service(options)]);
    let step = runner.script(&state, &asking(&["busybox"]));
    assert_eq!(step.stdout, "ready\n", "{step:?}");

    let options =
        "--health-cmd \"echo not well; false\" --health-interval 100ms --health-retries 2";
    // In another pod if it could not be run.
    let called = (2..=5).find_map(|number| {
        let ill = site.runner(&format!("runner-{number}"));
        let called = ill.prepare_called(&job(BUSYBOX, ""), &[service(options)]);
        assert_eq!(called.code, 1, "{called:?}");
        (!NOT_RUN.iter().any(|words| called.says(words))).then_some(called)
    });
    let called = called.expect("the health command is run in one of the pods");
    assert!(called.says("not well"), "{called:?}");
}

#[test]
fn a_services_environment_is_a_secret_until_the_job_is_over() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let script = "\"echo $PASSWORD > /srv/who; echo started; exec httpd -f -p 80 -h /srv\"";
    // The image's own entrypoint is none, so that these words are its command.
    let service = container(
        BUSYBOX,
        &json!({
            "entryPointArgs": ["sh", "-c", script], "portMappings": ["80"],
            "environmentVariables": {"PASSWORD": "hunter2 $(HOME) $$"},
        }),
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[service]);
    let step = runner.script(&state, &asking(&["busybox"]));
    assert_eq!(step.stdout, "hunter2 $(HOME) $$\n", "{step:?}");
    assert!(!site.pod("runner-1").to_string().contains("hunter2"));
    let secrets = || site.secrets();
    assert_eq!(secrets().len(), 1);
    // The runtime copies it into the log that is shown.
    site.until_logged(&runner, "busybox", |log| log.contains("started\n"));
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert!(cleaned.stdout.contains("started\n"), "the service's log is shown: {cleaned:?}");
    assert_eq!(secrets(), Vec::<String>::new(), "none is left");
}

#[test]
fn dollar_signs_of_a_workflow_are_not_the_kubelets() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    // The words of both stand in the pod's spec, where `$(CI)` would be `true`.
    let script =
        |port: u16| format!("\"echo '$$'$(CI)end > /srv/who; exec httpd -f -p {port} -h /srv\"");
    let own = container(
        BUSYBOX,
        &json!({
            "entryPointArgs": ["sh", "-c", script(80)], "portMappings": ["80"],
        }),
    );
    let by_init = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", script(81)], "portMappings": ["81"],
        }),
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[own, by_init]);
    let step = runner.script(&state, &asking(&["localhost:80", "localhost:81"]));
    assert_eq!(step.stdout, "$$end\n$$end\n", "{step:?}");
}

#[test]
fn a_service_is_waited_for_until_its_own_command_says_it_is_healthy() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let mut slow = web("slow", "80");
    slow["entryPointArgs"] =
        json!(["-c", "\"httpd -p 80 -h /srv; sleep 1; echo ready > /srv/who; sleep 1000\""]);
    slow["createOptions"] = json!(
        "--name slow --health-cmd \"wget -qO- http://localhost/who\" --health-interval 1s --health-retries 30"
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[slow.clone()]);
    let step = runner.script(&state, &asking(&["slow"]));
    assert_eq!(step.stdout, "ready\n", "{step:?}");

    let ill = site.runner("runner-2");
    slow["createOptions"] =
        json!("--health-cmd \"echo not well; false\" --health-interval 100ms --health-retries 2");
    let called = ill.prepare_called(&job(BUSYBOX, ""), &[slow]);
    assert!(called.code == 1 && called.says("not well"), "{called:?}");
}

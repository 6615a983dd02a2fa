//! Names and ports of services: with a job container that can hold them, with one that cannot, and
//! without any.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ephemon_demo::api::{Answer, Rule};
use serde_json::{Value, json};

use super::again_if;
use super::rig::{Called, Rig};
use crate::support::ports;

/// The test itself is the service: all share one network here.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn service(ports: &[String], options: &str) -> Value {
    json!({
        "image": "valkey/valkey:8", "entryPointArgs": ["exec sleep 1000"],
        "portMappings": ports, "createOptions": options,
    })
}

async fn prepare(rig: &Rig, container: &Value, services: &[Value]) -> Called {
    let args = json!({"container": container, "services": services});
    rig.call("prepare_job", &args, &Value::Null).await
}

/// An answer by a forwarded port.
fn answer(server: &TcpListener, port: u16) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"?").unwrap();
    // Waiting for the service left connections that closed.
    let mut asking = loop {
        let (mut other, _) = server.accept().unwrap();
        let mut question = [0; 1];
        if other.read(&mut question).unwrap() == 1 {
            break other;
        }
    };
    asking.write_all(b"hello").unwrap();
    drop(asking);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn services_of_a_job_without_a_container_have_their_ports_and_names() {
    let Some(rig) = Rig::start().await else { return };
    let (server, port) = listener();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = datagrams.local_addr().unwrap().port();
    let (other, other_udp) = (ports::free(), ports::free());
    let ports = [format!("127.0.0.1:{other}:{port}"), format!("{other_udp}:{udp}/udp")];
    let prepared = prepare(&rig, &Value::Null, &[service(&ports, "--name ldap")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let response = prepared.json();
    let shown = &response["context"]["services"][0]["ports"];
    assert_eq!(shown[port.to_string()], json!(other.to_string()));
    assert_eq!(shown[udp.to_string()], json!(other_udp.to_string()));
    assert!(response["context"].get("container").is_none(), "{response}");
    assert_eq!(answer(&server, other), "hello");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"?", ("127.0.0.1", other_udp)).unwrap();
    let mut buffer = [0; 8];
    datagrams.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    assert_eq!(datagrams.recv(&mut buffer).unwrap(), 1);

    let state = response["state"].clone();
    let step = json!({"image": "tool", "entryPointArgs": ["grep -w ldap /etc/hosts"]});
    let step = rig.call("run_container_step", &step, &state).await;
    assert!(step.code == 0 && step.stdout.contains("127.0.0.1\tvalkey ldap"), "{step:?}");
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    rig.until_ended("network").await;
    assert!(rig.pod.ended().contains(&("network".to_owned(), 0)));
}

#[tokio::test]
async fn a_job_whose_user_is_not_root_finds_names_and_ports_all_the_same() {
    let Some(rig) = Rig::start().await else { return };
    let (server, port) = listener();
    let other = ports::free();
    let job = json!({"image": "init", "createOptions": "--user 1234:1234"});
    let prepared = prepare(&rig, &job, &[service(&[format!("{other}:{port}")], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(!prepared.stdout.contains("::warning::"), "{prepared:?}");
    assert_eq!(answer(&server, other), "hello");
    let state = prepared.json()["state"].clone();
    let step = rig.call("run_script_step", &rig.script("grep valkey /etc/hosts"), &state).await;
    assert_eq!(step.code, 0, "{step:?}");
}

#[tokio::test]
async fn ports_are_forwarded_where_init_does_not_run_in_the_jobs_image() {
    let Some(rig) = Rig::start().await else { return };
    let (server, port) = listener();
    let other = ports::free();
    let job = json!({"image": "foreign"});
    let prepared = prepare(&rig, &job, &[service(&[format!("{other}:{port}")], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert_eq!(answer(&server, other), "hello");
    let state = prepared.json()["state"].clone();
    assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
    rig.until_ended("network").await;
}

#[tokio::test]
async fn a_namespace_that_forbids_root_still_has_its_ports_forwarded() {
    let Some(rig) = Rig::start().await else { return };
    let (server, port) = listener();
    let other = ports::free();
    let asked = "patch pods/ephemeralcontainers";
    rig.api.faults().add(Rule { asked, times: 1, answer: Answer::Status(403, None) });
    let prepared = prepare(&rig, &Value::Null, &[service(&[format!("{other}:{port}")], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(prepared.stdout.contains("not by name"), "{prepared:?}");
    assert!(rig.spec().contains("\"runAsNonRoot\":true"));
    assert_eq!(answer(&server, other), "hello");
}

#[tokio::test]
async fn a_port_that_cannot_be_forwarded_is_named() {
    let Some(rig) = Rig::start().await else { return };
    let (_server, port) = listener();
    let (_taken, other) = listener();
    let ports = [format!("{other}:{port}")];
    let prepared = prepare(&rig, &Value::Null, &[service(&ports, "")]).await;
    assert_eq!(prepared.code, 1, "{prepared:?}");
    let words = format!("cannot forward port {other}/tcp to port {port} of the service");
    assert!(prepared.stdout.contains(&words), "{prepared:?}");
}

#[tokio::test]
async fn a_port_without_a_listener_costs_two_seconds_and_is_named() {
    let Some(rig) = Rig::start().await else { return };
    let (_server, port) = listener();
    let silent = ports::free();
    let ports = [port.to_string(), silent.to_string()];
    let prepared = prepare(&rig, &json!({"image": "init"}), &[service(&ports, "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let words = format!("does not listen on its declared port {silent}; the job goes on");
    assert!(prepared.stdout.contains(&words), "{prepared:?}");
    // Had the hook waited as for a service that does not listen at all, it would have named both ports.
    assert!(prepared.took < Duration::from_mins(1), "{prepared:?}");
}

#[tokio::test]
async fn services_have_the_names_of_the_workflow_where_the_runner_logged_them() {
    let Some(rig) = Rig::start().await else { return };
    let prepared = prepare(&rig, &json!({"image": "init"}), &[service(&[], "")]).await;
    assert!(prepared.stdout.contains("service valkey/valkey:8: reached as valkey, localhost; the hook does not know its name in the workflow"), "{prepared:?}");
    let message = json!({"jobServiceContainers": {"type": 2, "map": [
        {"key": "cache", "value": {"type": 2, "map": [{"key": "image", "value": "valkey/valkey:8"}]}},
    ]}});
    fs::create_dir(rig.path("_diag")).unwrap();
    let log = format!("[2026-01-01 00:00:00Z INFO Worker] Job message:\n {message:#}\n");
    fs::write(rig.path("_diag/Worker_20260101-000000-utc.log"), log).unwrap();
    let prepared = prepare(&rig, &json!({"image": "init"}), &[service(&["6379".into()], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let line =
        "service valkey/valkey:8: reached as cache, valkey, valkey-2, localhost; ports 6379/tcp\n";
    assert!(prepared.stdout.contains(line), "{prepared:?}");
    let hosts = fs::read_to_string(rig.path("hosts")).unwrap();
    assert!(hosts.contains("127.0.0.1\tcache valkey"), "{hosts}");
}

#[tokio::test]
async fn a_service_that_finds_its_port_taken_fails_the_job_with_a_hint() {
    let late = json!({
        "image": "mariadb:10", "entryPointArgs": ["echo 'bind: Address already in use' >&2; exit 1"],
    });
    let services = [service(&[], ""), late];
    // One that declares no port is watched for a moment only: the job goes on if it ends later.
    let is_late = |prepared: &Called| prepared.code == 0;
    let prepared = again_if(is_late, async || {
        let rig = Rig::start().await?;
        Some(prepare(&rig, &json!({"image": "init"}), &services).await)
    });
    let Some(prepared) = prepared.await else { return };
    assert_eq!(prepared.code, 1, "{prepared:?}");
    for words in [
        "Log of service mariadb",
        "bind: Address already in use\n",
        "mariadb:10 (container mariadb) ended with exit code 1 (Error) before it was ready",
        "two services cannot listen on one port",
    ] {
        assert!(prepared.stdout.contains(words), "{words}: {prepared:?}");
    }
}

#[tokio::test]
async fn a_service_that_ends_with_success_before_it_listens_fails_the_job() {
    let Some(rig) = Rig::start().await else { return };
    let over = |ports: &[String]| json!({"image": "once", "entryPointArgs": ["echo done; exit 0"], "portMappings": ports});
    let prepared = prepare(&rig, &Value::Null, &[over(&[ports::free().to_string()])]).await;
    assert!(prepared.code == 1 && prepared.stdout.contains("exit code 0"), "{prepared:?}");
    // One that declares nothing may have been meant to. It is watched for a moment only: if it ends later,
    // nothing is said.
    let services = [over(&[])];
    let is_late =
        |prepared: &Called| prepared.code == 0 && !prepared.stdout.contains("has already exited");
    let prepare = async || Some(prepare(&rig, &Value::Null, &services).await);
    let prepared = again_if(is_late, prepare).await.unwrap();
    assert!(prepared.code == 0 && prepared.stdout.contains("has already exited"), "{prepared:?}");
}

#[tokio::test]
async fn a_service_that_fails_during_the_job_is_named_at_its_end() {
    let Some(rig) = Rig::start().await else { return };
    let script = "while ! test -e /tmp/go; do sleep 0.02; done; echo killed; exit 9";
    let service = json!({"image": "db", "entryPointArgs": [script]});
    // One behind init, and one that only the hook ends, with another exit code than 0.
    let script = script.replace("exit 9", "exit 8");
    let args = json!(["-c", format!("\"{script}\"")]);
    let behind = json!({"image": "behind", "entryPoint": "sh", "entryPointArgs": args});
    let well = json!({"image": "well", "entryPoint": "sleep", "entryPointArgs": ["1000"]});
    let prepared = prepare(&rig, &Value::Null, &[service, behind, well]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    for name in ["db", "behind"] {
        let pid = rig.first_process(name).await;
        fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
        rig.until_ended(name).await;
    }
    let state = prepared.json()["state"].clone();
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert!(cleaned.stdout.contains("killed\n"), "{cleaned:?}");
    for (name, code) in [("db", 9), ("behind", 8)] {
        let told =
            format!("service {name} ({name}) ended before the job did, with exit code {code}");
        assert!(cleaned.stdout.contains(&told), "{cleaned:?}");
    }
    assert!(!cleaned.stdout.contains("service well (well) ended"), "{cleaned:?}");
}

#[tokio::test]
async fn a_port_of_the_job_that_a_service_has_is_a_warning() {
    let Some(rig) = Rig::start().await else { return };
    let (_server, port) = listener();
    let job = json!({"image": "init", "portMappings": [port.to_string()]});
    let prepared = prepare(&rig, &job, &[service(&[port.to_string()], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(prepared.stdout.contains("share one network"), "{prepared:?}");
}

#[tokio::test]
async fn a_template_that_says_nothing_is_refused_and_one_for_all_services_counts() {
    let Some(mut rig) = Rig::start().await else { return };
    let template = rig.path("template.yaml");
    rig.set("EPHEMON_HOOK_TEMPLATE", template.to_str().unwrap());
    fs::write(&template, "").unwrap();
    let prepared = prepare(&rig, &Value::Null, &[service(&[], "")]).await;
    assert!(prepared.code == 1 && prepared.stdout.contains("is empty"), "{prepared:?}");
    fs::write(
        &template,
        "spec: {containers: [{name: $*, env: [{name: FROM_ALL, value: given}]}]}\n",
    )
    .unwrap();
    let prepared = prepare(&rig, &Value::Null, &[service(&[], "")]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(rig.spec().contains("FROM_ALL"));
}

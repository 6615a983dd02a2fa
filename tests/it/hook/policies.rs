//! What `deploy/hook` lets a runner's account do: the role against the requests that the hook really
//! makes, the admission policies against the patches that it really sends.

use std::fs;

use cel::{Context, Program, Value as Cel};
use serde_json::{Value, json};

use super::pod::POD;
use super::rig::Rig;
use crate::support::parts;

/// The documents of a file in `deploy/hook`.
fn documents(name: &str) -> Vec<Value> {
    let path = parts::repository().join("deploy/hook").join(name);
    let text = fs::read_to_string(path).unwrap();
    text.split("\n---\n").map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

fn kind<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = documents.iter().find(|d| d["kind"] == kind && d["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// One policy, as the API server evaluates it.
struct Policy(Value);

/// A request under review.
struct Review {
    request: Value,
    object: Value,
    old: Value,
}

impl Policy {
    fn load(name: &str) -> Self {
        Self(kind(&documents("policy.yaml"), "ValidatingAdmissionPolicy", name)["spec"].clone())
    }

    /// The message of the first validation that fails; none when all hold or none is meant.
    fn refuses(&self, review: &Review) -> Option<String> {
        let mut variables = serde_json::Map::new();
        let evaluate = |expression: &Value, variables: &serde_json::Map<String, Value>| -> Cel {
            let text = expression["expression"].as_str().unwrap();
            let program = Program::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let mut context = Context::default();
            for (name, value) in [
                ("request", &review.request),
                ("object", &review.object),
                ("oldObject", &review.old),
                ("variables", &Value::Object(variables.clone())),
            ] {
                context.add_variable(name, value.clone()).unwrap();
            }
            program.execute(&context).unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        let list = |name: &str| self.0[name].as_array().cloned().unwrap_or_default();
        if list("matchConditions").iter().any(|c| evaluate(c, &variables) != Cel::Bool(true)) {
            return None;
        }
        for variable in list("variables") {
            let value = evaluate(&variable, &variables).json().unwrap();
            variables.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        let validations = list("validations");
        let failed = validations.iter().find(|v| evaluate(v, &variables) != Cel::Bool(true));
        failed.map(|v| v["message"].as_str().unwrap().to_owned())
    }
}

/// A request of an account by a token that is bound to a pod.
fn request(operation: &str, name: &str, pod: &str, uid: &str) -> Value {
    json!({
        "namespace": "default", "operation": operation, "name": name,
        "userInfo": {
            "username": "system:serviceaccount:default:ephemon-runner",
            "extra": {
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [uid],
            },
        },
    })
}

/// The job of a rig, with everything in it that needs a permission.
async fn play(rig: &Rig) {
    let args = json!({
        "container": {"image": "init"},
        "services": [{"image": "tool", "entryPointArgs": ["sleep", "1000"], "environmentVariables": {"A": "b"}}],
    });
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let step = rig.call("run_script_step", &rig.script("true"), &state).await;
    assert_eq!(step.code, 0, "{step:?}");
    let own = json!({"image": "tool", "entryPointArgs": ["exit", "0"], "environmentVariables": {"A": "b"}});
    let step = rig.call("run_container_step", &own, &state).await;
    assert_eq!(step.code, 0, "{step:?}");
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
}

#[tokio::test]
async fn the_role_grants_what_the_hook_asks_for_and_nothing_more() {
    let Some(rig) = Rig::start().await else { return };
    let rules =
        |file, name| kind(&documents(file), "Role", name)["rules"].as_array().unwrap().clone();
    let base = rules("rbac.yaml", "ephemon-runner");
    let rules = [base.clone(), rules("rbac-events.yaml", "ephemon-runner-events")].concat();
    let mut granted: Vec<(String, String)> = Vec::new();
    for rule in &rules {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                granted.push((text(verb), text(resource)));
            }
        }
    }
    granted.sort();
    let account = "system:serviceaccount:default:ephemon-runner";
    rig.api.access().set(account, Some(rules));
    play(&rig).await;
    assert_eq!(rig.api.access().seen(), granted);
    // Without leave to list events nothing fails.
    rig.api.access().set(account, Some(base));
    play(&rig).await;
}

#[tokio::test]
async fn the_policy_lets_pass_what_the_hook_sends_from_its_own_pod_only() {
    let Some(rig) = Rig::start().await else { return };
    play(&rig).await;
    // And the hook's own container, for services of a job without one.
    let args = json!({"services": [{"image": "tool", "entryPointArgs": ["sleep", "1000"]}]});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let key = ("default".to_owned(), POD.to_owned());
    let object = (*rig.api.store().get(&key).unwrap()).clone();
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(object["spec"]["ephemeralContainers"].as_array().unwrap().len() == 5);
    let mut old = object.clone();
    old["spec"].as_object_mut().unwrap().remove("ephemeralContainers");
    let policy = Policy::load("ephemon-runner-containers");
    let review = |request| Review { request, object: object.clone(), old: old.clone() };
    assert_eq!(policy.refuses(&review(request("UPDATE", POD, POD, &uid))), None);
    let own = "a runner may add containers to its own pod only".to_owned();
    for (pod, uid) in [("runner-2", uid.as_str()), (POD, "another")] {
        let refused = policy.refuses(&review(request("UPDATE", POD, pod, uid)));
        assert_eq!(refused.as_ref(), Some(&own), "{pod} {uid}");
    }
    let mut unbound = request("UPDATE", POD, POD, &uid);
    unbound["userInfo"].as_object_mut().unwrap().remove("extra");
    assert_eq!(policy.refuses(&review(unbound)), Some(own));
    let mut person = request("UPDATE", POD, "", "");
    person["userInfo"] = json!({"username": "kubernetes-admin"});
    assert_eq!(policy.refuses(&review(person)), None, "people debug as they like");
}

#[test]
fn the_policy_refuses_what_a_job_must_not_have() {
    let policy = Policy::load("ephemon-runner-containers");
    let refused = |container: Value| {
        let pod = |list: Value| {
            json!({
                "metadata": {"name": POD, "uid": "u"},
                "spec": {
                    "containers": [{"name": "runner"}],
                    "volumes": [
                        {"name": "work", "emptyDir": {}}, {"name": "ephemon-bin", "emptyDir": {}},
                        {"name": "externals", "image": {}}, {"name": "pull", "secret": {}},
                        {"name": "kube-api-access-x", "projected": {}}, {"name": "h", "hostPath": {}},
                    ],
                    "ephemeralContainers": list,
                },
            })
        };
        let before = json!({"name": "before", "targetContainerName": "runner"});
        let mut container = container;
        container["name"] = json!("job");
        let review = Review {
            request: request("UPDATE", POD, POD, "u"),
            object: pod(json!([before, container])),
            old: pod(json!([before])),
        };
        policy.refuses(&review).unwrap_or_default()
    };
    assert_eq!(refused(json!({"volumeMounts": [{"name": "work"}]})), "");
    assert!(refused(json!({"targetContainerName": "runner"})).contains("targetContainerName"));
    for context in [json!({"privileged": true}), json!({"capabilities": {"add": ["SYS_ADMIN"]}})] {
        assert!(refused(json!({"securityContext": context})).contains("privileged"), "{context}");
    }
    for context in [
        json!({"procMount": "Unmasked"}),
        json!({"seccompProfile": {"type": "Unconfined"}}),
        json!({"appArmorProfile": {"type": "Unconfined"}}),
        json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "any.json"}}),
        json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "chrome"}}),
        json!({"seLinuxOptions": {"type": "spc_t"}}),
        json!({"windowsOptions": {"hostProcess": true}}),
    ] {
        assert!(refused(json!({"securityContext": context})).contains("unconfined"), "{context}");
    }
    let confined = json!({"seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Default"});
    assert_eq!(refused(json!({"securityContext": confined})), "");
    for volume in ["ephemon-bin", "externals"] {
        let mounted = |mount: Value| refused(json!({"volumeMounts": [mount]}));
        assert_eq!(mounted(json!({"name": volume, "readOnly": true})), "");
        for mount in [json!({"name": volume}), json!({"name": volume, "readOnly": false})] {
            assert!(mounted(mount).contains("read only"), "{volume}");
        }
    }
    assert_eq!(refused(json!({"securityContext": {"capabilities": {"drop": ["ALL"]}}})), "");
    for volume in ["pull", "kube-api-access-x", "h", "none"] {
        let mounted = refused(json!({"volumeMounts": [{"name": volume}]}));
        assert!(mounted.contains("may mount"), "{volume}: {mounted}");
    }
    let from = |name: &str| json!({"envFrom": [{"secretRef": {"name": name}}]});
    assert_eq!(refused(from("ephemon-u-job-env")), "");
    for foreign in ["ephemon-u2-job-env", "ephemon-u", "runner-1-job-env", "database-password"] {
        assert!(refused(from(foreign)).contains("Secrets"), "{foreign}");
    }
    assert!(refused(json!({"envFrom": [{"configMapRef": {"name": "c"}}]})).contains("Secrets"));
    let value =
        json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "runner-1-x"}}}]});
    assert!(refused(value).contains("Secrets"));
}

#[test]
fn secrets_and_commands_are_held_to_the_runners_own_pod() {
    let secrets = Policy::load("ephemon-runner-secrets");
    let secret = |name: &str, pod: &str| json!({"type": "Opaque", "metadata": {"name": name, "labels": {"runner-pod": pod}}});
    let made = |name: &str, pod: &str| {
        let request = request("CREATE", name, POD, "u");
        secrets.refuses(&Review { request, object: secret(name, pod), old: Value::Null }).is_none()
    };
    assert!(made("ephemon-u-job-env", POD));
    assert!(!made("ephemon-u2-job-env", POD) && !made("ephemon-u-job-env", "runner-2"));
    assert!(!made("runner-1-job-env", POD) && !made("runner-1-0-job-env", POD));
    // One of this type is filled with a token of any account of the namespace.
    let mut token = secret("ephemon-u-x", POD);
    token["type"] = json!("kubernetes.io/service-account-token");
    let review = |request, object| Review { request, object, old: Value::Null };
    let asked = request("CREATE", "ephemon-u-x", POD, "u");
    assert!(secrets.refuses(&review(asked, token)).is_some());
    let mut unbound = request("CREATE", "ephemon-u-job-env", POD, "u");
    unbound["userInfo"].as_object_mut().unwrap().remove("extra");
    assert!(secrets.refuses(&review(unbound, secret("ephemon-u-job-env", POD))).is_some());
    // Any account that is a runner's by its name, as Kustomize's prefixes leave it, and no other one.
    let meant = |namespace: &str, account: &str| {
        let mut request = request("CREATE", "database-password", POD, "u");
        request["namespace"] = json!(namespace);
        request["userInfo"]["username"] =
            json!(format!("system:serviceaccount:{namespace}:{account}"));
        let object = secret("database-password", POD);
        secrets.refuses(&Review { request, object, old: Value::Null }).is_some()
    };
    assert!(meant("ci", "ephemon-runner") && meant("ci", "pre-ephemon-runner-suf"));
    assert!(!meant("ci", "external-secrets") && !meant("ephemon-runners", "external-secrets"));
    let gone = |name: &str| {
        let request = request("DELETE", name, POD, "u");
        let old = json!({"metadata": {"name": name, "labels": {"runner-pod": POD}}});
        secrets.refuses(&Review { request, object: Value::Null, old }).is_none()
    };
    assert!(gone("ephemon-u-job-env") && !gone("database-password") && !gone("runner-1-x"));

    let commands = Policy::load("ephemon-runner-exec");
    let exec = |pod: &str, container: &str| {
        let request = request("CONNECT", pod, POD, "u");
        let object = json!({"container": container});
        commands.refuses(&Review { request, object, old: Value::Null }).is_none()
    };
    assert!(exec(POD, "job-2") && !exec("runner-2", "job-2") && !exec(POD, "runner"));
}

#[test]
fn every_policy_is_bound_and_every_namespace_is_the_same() {
    let policies = documents("policy.yaml");
    let names = |kind: &str| -> Vec<String> {
        let all = policies.iter().filter(|d| d["kind"] == kind);
        all.map(|d| d["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let bound: Vec<_> = policies.iter().filter_map(|d| d["spec"]["policyName"].as_str()).collect();
    assert_eq!(names("ValidatingAdmissionPolicy"), bound);
    for file in ["rbac.yaml", "rbac-exec.yaml", "rbac-events.yaml"] {
        for document in documents(file) {
            assert_eq!(document["metadata"]["namespace"], "arc-runners");
        }
    }
}

/// The values for the scale set hold the volumes that the hook needs, where it looks for them.
#[test]
fn the_scale_sets_values_have_what_the_hook_needs() {
    let values = &documents("values.yaml")[0];
    let spec = &values["template"]["spec"];
    let names = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let volumes = ["work", "externals", "github", "ephemon", "ephemon-bin", "ephemon-shm"];
    assert_eq!(names(&spec["volumes"]), volumes);
    assert_eq!(spec["volumes"][5]["emptyDir"]["medium"], "Memory");
    let runner = &spec["containers"][0];
    assert_eq!(runner["name"], "runner");
    let mounts = runner["volumeMounts"].as_array().unwrap();
    let at = |name: &str| mounts.iter().find(|m| m["name"] == name).unwrap()["mountPath"].clone();
    assert_eq!(at("ephemon"), "/ephemon");
    let programs = mounts.iter().find(|m| m["name"] == "ephemon-bin").unwrap();
    assert_eq!(
        (&programs["mountPath"], &programs["readOnly"]),
        (&json!("/ephemon/bin"), &json!(true))
    );
    assert_eq!(at("github"), "/github");
    assert_eq!(at("work"), "/home/runner/_work");
    assert_eq!(spec["initContainers"][0]["command"], json!(["/ephemon", "install", "/volume"]));
    let env = names(&runner["env"]);
    for name in ["ACTIONS_RUNNER_CONTAINER_HOOKS", "ACTIONS_RUNNER_POD_NAME"] {
        assert!(env.iter().any(|known| known == name), "{name}");
    }
    assert_eq!(spec["serviceAccountName"], "ephemon-runner");
    // Nothing is written to a workflow's page unless somebody asks for it.
    assert!(!env.iter().any(|known| known == "EPHEMON_STEP_SUMMARY"));
    // A kubelet limits a pod that has a limit, or whose containers all have one.
    let containers = spec["containers"].as_array().unwrap().iter();
    let inits = spec["initContainers"].as_array().unwrap().iter();
    for limited in containers.chain(inits).chain([spec]) {
        assert!(limited["resources"]["limits"]["memory"].is_string(), "{limited}");
    }
}

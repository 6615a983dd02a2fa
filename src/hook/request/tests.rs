//! Requests as the runner may send them, and others.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn parse(value: &Value) -> Result<Request, Error> {
    Request::parse(format!("{value}\n").as_bytes())
}

#[test]
fn null_empty_and_absent_fields_mean_the_same() {
    let absent = parse(
        &json!({"command": "prepare_job", "responseFile": "/r", "args": {"container": {"image": "a"}}}),
    );
    let null = parse(&json!({
        "command": "prepare_job", "responseFile": "/r", "state": null,
        "args": {"container": {
            "image": "a", "dockerfile": null, "entryPointArgs": null, "entryPoint": null,
            "workingDirectory": null, "createOptions": null, "registry": null,
            "environmentVariables": null, "portMappings": null,
            "systemMountVolumes": null, "userMountVolumes": null,
        }, "services": null},
    }));
    let empty = parse(&json!({
        "command": "prepare_job", "responseFile": "/r", "state": {},
        "args": {"container": {
            "image": "a", "dockerfile": "", "entryPointArgs": [], "entryPoint": "",
            "workingDirectory": "", "createOptions": " ", "environmentVariables": {},
            "portMappings": [], "systemMountVolumes": [], "userMountVolumes": [],
        }, "services": []},
    }));
    let (absent, null, empty) = (absent.unwrap(), null.unwrap(), empty.unwrap());
    assert_eq!(absent, null);
    assert_eq!(absent, empty);
}

#[test]
fn a_script_step_keeps_its_pieces_and_its_path_order() {
    let request = parse(&json!({
        "command": "run_script_step", "responseFile": "/r.json",
        "args": {
            "entryPoint": "sh", "entryPointArgs": ["-e", "", "\"/a", "b\""],
            "environmentVariables": {"A": "1", "B": null}, "prependPath": ["/first", "/second"],
            "workingDirectory": "/__w/r/r",
        },
        "state": null,
    }));
    let Command::RunScriptStep(step) = request.unwrap().command else { panic!("a step") };
    assert_eq!(step.entry_point_args, ["-e", "", "\"/a", "b\""]);
    assert_eq!(step.prepend_path, ["/first", "/second"]);
    assert_eq!(step.env(), [("A".into(), "1".into()), ("B".into(), String::new())]);
}

#[test]
fn an_old_runners_single_prepend_path_is_taken() {
    let request = parse(&json!({
        "command": "run_script_step", "args": {"entryPoint": "sh", "prependPath": "/one"},
    }));
    let Command::RunScriptStep(step) = request.unwrap().command else { panic!("a step") };
    assert_eq!(step.prepend_path, ["/one"]);
}

#[test]
fn what_cannot_be_understood_is_said_without_repeating_it() {
    let secret = "hunter2";
    let wrong = parse(&json!({
        "command": "run_script_step", "args": {"entryPoint": "sh", "environmentVariables": secret},
    }));
    let wrong = wrong.unwrap_err().to_string();
    assert!(!wrong.contains(secret));
    assert!(
        wrong.contains("args.environmentVariables is a string, but must be an object"),
        "{wrong}"
    );
    assert!(matches!(Request::parse(b"{"), Err(Error::NotJson { .. })));
    assert!(matches!(Request::parse(b""), Err(Error::NotJson { .. })));
    assert!(matches!(parse(&json!({})), Err(Error::Missing("command"))));
    assert!(matches!(parse(&json!({"command": "dance"})), Err(Error::Unknown(_))));
    let blank = json!({"command": "run_script_step", "args": {}});
    assert!(matches!(parse(&blank), Err(Error::Missing(_))));
    let state = json!({"command": "cleanup_job", "args": {}, "state": {"odd": 1}});
    assert!(matches!(parse(&state), Err(Error::State(_))));
}

#[test]
fn cleanup_has_empty_arguments() {
    let request = parse(&json!({"command": "cleanup_job", "args": {}, "state": null})).unwrap();
    assert_eq!(request.command, Command::CleanupJob);
}

proptest! {
    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        drop(Request::parse(&bytes));
    }
}

const SECRET: &str = "hunter2";

/// Every field that the runner sends, with a value of its type.
fn whole() -> [Value; 3] {
    let mount = json!({"userProvidedValue": SECRET, "sourceVolumePath": SECRET, "targetVolumePath": "/a", "readOnly": true});
    let container = json!({
        "image": "a", "dockerfile": SECRET, "entryPointArgs": [SECRET], "entryPoint": SECRET,
        "workingDirectory": SECRET, "createOptions": SECRET,
        "registry": {"username": SECRET, "password": SECRET, "serverUrl": SECRET},
        "environmentVariables": {"NAME": SECRET}, "portMappings": [SECRET],
        "systemMountVolumes": [mount], "userMountVolumes": [mount],
    });
    let script = json!({
        "entryPoint": SECRET, "entryPointArgs": [SECRET], "environmentVariables": {"NAME": SECRET},
        "prependPath": [SECRET], "workingDirectory": SECRET,
    });
    let request = |command: &str, args: &Value| json!({"command": command, "responseFile": "/r", "args": args, "state": null});
    [
        request("prepare_job", &json!({"container": container, "services": [container]})),
        request("run_container_step", &container),
        request("run_script_step", &script),
    ]
}

/// The JSON pointers of all values.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        _ => return,
    };
    for (key, value) in inner {
        let at = format!("{at}/{key}");
        places(value, &at, all);
        all.push(at);
    }
}

/// The field as the error names it.
fn field(place: &str) -> String {
    let parts = place.split('/').skip(1);
    parts.fold(String::new(), |field, part| match part.parse::<usize>() {
        Ok(index) => format!("{field}[{index}]"),
        Err(_) if field.is_empty() => part.to_owned(),
        Err(_) => format!("{field}.{part}"),
    })
}

#[test]
fn a_field_of_another_type_is_named_with_what_it_is_and_must_be() {
    let others =
        [json!(5), json!(false), json!(SECRET), json!([SECRET]), json!({"x": SECRET}), json!(null)];
    let mut wrong = 0;
    for base in whole() {
        let mut all = Vec::new();
        places(&base, "", &mut all);
        for (place, other) in all.iter().flat_map(|place| others.iter().map(move |it| (place, it)))
        {
            // Fields that are not read, that accept any type, or that are reported by their
            // content.
            if place.ends_with("/password") || place.ends_with("/state") || place == "/command" {
                continue;
            }
            let mut changed = base.clone();
            let at = changed.pointer_mut(place).unwrap();
            let same = std::mem::discriminant(at) == std::mem::discriminant(other);
            let one_path = place == "/args/prependPath" && other.is_string();
            let is_element = place.rsplit('/').next().unwrap().parse::<usize>().is_ok();
            *at = other.clone();
            let result = parse(&changed);
            if same || one_path || (other.is_null() && !is_element) {
                // A list may contain invalid elements: then the element is named.
                let is_inside = |error: &Error| {
                    let text = error.to_string();
                    same && text.contains(&field(place)) && !text.contains(SECRET)
                };
                let is_fine = match &result {
                    Ok(_) | Err(Error::Missing(_)) => true,
                    Err(error) => is_inside(error),
                };
                assert!(is_fine, "{place}: {other}: {result:?}");
                continue;
            }
            let (error, field) = (result.unwrap_err().to_string(), field(place));
            // Old runners sent a string or strings, so the whole field is named.
            let field = field.replace("prependPath[0]", "prependPath");
            assert!(error.contains(&format!("{field} is ")), "{field}: {error}");
            assert!(error.contains("must be a") && !error.contains(SECRET), "{error}");
            wrong += 1;
        }
    }
    assert!(wrong > 300, "{wrong}");
}

#[test]
fn what_must_be_there_is_named_where_it_is_not() {
    let told = |request: Value| parse(&request).unwrap_err().to_string();
    let request = |command: Value, args: Value| json!({"command": command, "responseFile": "/r", "args": args});
    for command in [json!(null), json!(""), json!(" ")] {
        assert!(told(request(command, json!({}))).contains("has no command"));
    }
    assert!(
        told(request(json!(5), json!({}))).contains("command is a number, but must be a string")
    );
    for args in [json!(null), json!({}), json!({"container": null, "services": []})] {
        assert!(told(request(json!("prepare_job"), args)).contains("args.container"));
    }
    for file in [json!(null), json!("")] {
        let args = json!({"container": {"image": "a"}});
        let request = json!({"command": "prepare_job", "responseFile": file, "args": args});
        assert!(told(request).contains("responseFile"));
    }
    for entry_point in [json!(null), json!(""), json!(" ")] {
        let args = json!({"entryPoint": entry_point});
        assert!(told(request(json!("run_script_step"), args)).contains("args.entryPoint"));
    }
    for whole in [json!([]), json!("hunter2"), json!(5), json!(null)] {
        let text = told(whole);
        assert!(text.contains("the request is ") && !text.contains(SECRET), "{text}");
    }
    let state = json!({"command": "run_script_step", "args": {"entryPoint": "a"}, "state": {"version": 1, "token": [SECRET]}});
    let text = told(state);
    assert!(text.contains("state.token is an array") && !text.contains(SECRET), "{text}");
}

#[test]
fn text_that_no_string_can_hold_is_replaced_as_dot_net_does() {
    let request = br#"{"command": "run_script_step", "args": {"entryPoint": "a", "environmentVariables": {"A": "x\ud800y"}}}"#;
    let Command::RunScriptStep(step) = Request::parse(request).unwrap().command else { panic!() };
    assert_eq!(step.env(), [("A".to_owned(), "x\u{fffd}y".to_owned())]);
}

//! The steps of a job, by its message in the runner's own log (see `service_keys`). The log has no
//! stable format: without the message nothing is known of the steps.
//!
//! Source: actions/runner v2.336.0, `ActionStep.cs`, `RepositoryPathReference.cs`,
//! `ContainerRegistryReference.cs`.

use serde::Deserialize;
use serde_json::Value;

use super::step::{Reference, Step, image};
use crate::service_keys::{self, Pair};
use crate::settings::Settings;

/// Most steps that are looked at.
const STEPS_MAX: usize = 1024;

#[derive(Deserialize)]
struct Message {
    #[serde(alias = "Steps")]
    steps: Vec<Value>,
}

/// The job's steps in their order; `None` if they are not known.
pub(super) fn steps(settings: &Settings) -> Option<Vec<Step>> {
    of(&service_keys::message(settings)?)
}

fn of(message: &str) -> Option<Vec<Step>> {
    // Other lines of the log follow.
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<Message>();
    let steps = values.next()?.ok()?.steps;
    Some(steps.iter().take(STEPS_MAX).map(step).collect())
}

fn step(step: &Value) -> Step {
    let reference = get(step, "reference", "Reference").map_or(Reference::Other, reference);
    let inputs = get(step, "inputs", "Inputs").and_then(|inputs| inputs.get("map"));
    let inputs: Vec<Pair> = inputs.and_then(|map| Vec::deserialize(map).ok()).unwrap_or_default();
    let entry_point = inputs.iter().any(|pair| {
        service_keys::literal(&pair.key).is_some_and(|key| key.eq_ignore_ascii_case("entrypoint"))
            // An expression may be one.
            && service_keys::literal(&pair.value) != Some("")
    });
    Step { reference, entry_point }
}

fn reference(reference: &Value) -> Reference {
    let text = |name, capital| get(reference, name, capital).and_then(Value::as_str);
    if let Some(named) = text("image", "Image") {
        return Reference::Image(image(named).unwrap_or(named).to_owned());
    }
    let (name, version) = (text("name", "Name"), text("ref", "Ref"));
    match (name, version) {
        (Some(name), Some(version)) if name.split('/').count() == 2 => {
            let path = text("path", "Path").filter(|path| !path.is_empty());
            let path = path.map(|path| format!("/{}", path.trim_start_matches('/')));
            Reference::of(&format!("{name}{}", path.unwrap_or_default()), version)
        }
        _ => Reference::Other,
    }
}

/// A field, in the spelling of either of the runner's serializers.
fn get<'a>(value: &'a Value, name: &str, capital: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| value.get(capital))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_step_says_what_it_uses() {
        let inputs = json!({"type": 2, "map": [
            {"Key": "args", "Value": "x"}, {"Key": "entryPoint", "Value": {"type": 3, "expr": "x"}},
        ]});
        let message = json!({"jobId": "x", "steps": [
            {"type": "action", "reference": {"type": "script"}, "inputs": {"type": 2, "map": []}},
            {"reference": {"type": "containerRegistry", "image": "alpine:3"}, "inputs": inputs},
            {"reference": {"type": 2, "image": "docker://alpine:3"}},
            {"reference": {"name": "o/r", "ref": "v1", "repositoryType": "GitHub", "path": null}},
            {"reference": {"name": "o/r", "ref": "v1", "path": "a/b"}},
            {"reference": {"repositoryType": "self", "path": "./local"}},
            {"reference": null}, 5,
        ]});
        let step = |reference, entry_point| Step { reference, entry_point };
        let image = || Reference::Image("alpine:3".to_owned());
        let action = |path: &str| Reference::Action(path.to_owned());
        let expected = vec![
            step(Reference::Other, false),
            step(image(), true),
            step(image(), false),
            step(action("o/r/v1"), false),
            step(action("o/r/v1/a/b"), false),
            step(Reference::Other, false),
            step(Reference::Other, false),
            step(Reference::Other, false),
        ];
        let text = format!(" {message:#}\n[2026-01-01 00:00:01Z INFO Worker] Listening\n");
        assert_eq!(of(&text).unwrap(), expected);
        let capital =
            text.replace("\"steps\"", "\"Steps\"").replace("\"reference\"", "\"Reference\"");
        assert_eq!(of(&capital).unwrap(), expected);
    }

    #[test]
    fn no_message_gives_no_steps() {
        for text in ["", "{}", "{\"steps\": ***}", "{\"steps\": 7}", "[]"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}

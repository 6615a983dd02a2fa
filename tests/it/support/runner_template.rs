//! The runner's pod template as `deploy/hook` ships it.

use serde_json::Value;

use super::parts;

/// The pod's spec of values files, laid over each other as Helm does it: maps are merged, everything
/// else is replaced. Our image and the runner's stand in the place of the shipped ones.
pub(crate) fn spec(files: &[&str], ephemon: &str, runner: &str) -> Value {
    let mut all = Value::Null;
    for file in files {
        let path = parts::repository().join("deploy/hook").join(file);
        let text = std::fs::read_to_string(path)
            .unwrap()
            .replace("EPHEMON-IMAGE", ephemon)
            .replace("ghcr.io/actions/actions-runner:latest", runner);
        lay_over(&mut all, serde_saphyr::from_str(&text).unwrap());
    }
    all["template"]["spec"].take()
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

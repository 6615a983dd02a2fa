//! The runner's pod template as `deploy/hook` ships it.

use std::path::Path;

use serde_json::Value;

/// The pod's spec of a values file, with these images in the place of ours and the runner's.
pub(crate) fn spec(values: &str, ephemon: &str, runner: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/hook").join(values);
    let text = std::fs::read_to_string(path)
        .unwrap()
        .replace("EPHEMON-IMAGE", ephemon)
        .replace("ghcr.io/actions/actions-runner:latest", runner);
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    values["template"]["spec"].clone()
}

//! An image that the registry has: busybox, and a file with the image's name, so that the layers of
//! two images differ.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::super::super::image::Image;
use super::super::super::process::output;
use super::super::super::workflow_images;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image as a registry has it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) manifest: String,
    /// Of the manifest.
    pub(super) digest: String,
    /// Configuration and layer, by their digests.
    pub(super) blobs: HashMap<String, Vec<u8>>,
}

// === impl Served ===

impl Served {
    pub(super) fn new(name: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let files = workflow_images::busybox(&scratch.path().join("busybox"));
        fs::write(files.join("name"), name).unwrap();
        let config = json!({"Env": ["PATH=/usr/local/bin:/bin"], "Cmd": ["sh"]});
        let layout = scratch.path().join("layout");
        fs::create_dir(&layout).unwrap();
        let entry = Image { name: "", files, config }.write(&layout);
        let mut blobs = HashMap::new();
        let mut blob = |name: &Value, media: &str| {
            let path = layout.join(name.as_str().unwrap());
            let (digest, bytes) = (digest(&path), fs::read(&path).unwrap());
            let told = json!({"mediaType": media, "digest": digest, "size": bytes.len()});
            blobs.insert(digest, bytes);
            told
        };
        let config = blob(&entry["Config"], CONFIG);
        let layers = [blob(&entry["Layers"][0], LAYER)];
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let path = layout.join("manifest");
        fs::write(&path, manifest.to_string()).unwrap();
        Self { manifest: manifest.to_string(), digest: digest(&path), blobs }
    }
}

fn digest(path: &Path) -> String {
    let sum = output(Command::new("sha256sum").arg(path));
    format!("sha256:{}", sum.split_whitespace().next().unwrap())
}

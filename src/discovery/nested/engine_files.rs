//! What the files of an engine say of its containers: names and images. Pure.
//!
//! Jobs can write these files. Of all that they have, and some have secrets, only the name and the
//! image are taken, and only if they look like such.
//!
//! Sources: moby v28, `daemon/container/container.go` (`config.v2.json`); containers/storage v1.57,
//! `containers.go` (`containers.json`, `volatile-containers.json`), containers/podman v5,
//! `libpod/storage.go` (the metadata in it); containerd v2, `core/runtime/v2/bundle.go` (the bundle's
//! `config.json`) and `internal/cri/annotations/annotations.go`; nerdctl v2, `pkg/labels/labels.go`.

use std::collections::BTreeMap;

use ephemon_cgroup::nested_name::Engine;
use serde::Deserialize;

use crate::inventory::EngineNames;

/// Longest name.
const MAX_NAME: usize = 128;
/// Longest image.
const MAX_IMAGE: usize = 256;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Docker's file of one container.
    Docker,
    /// The list of containers of containers/storage.
    Storage,
    /// An OCI bundle's configuration.
    Bundle,
}

/// Where an engine with its default configuration stores a container's name, most likely first.
pub(super) fn files(engine: Engine, id: &str) -> Vec<(Format, String)> {
    let docker = ["/var/lib/docker", "/home/rootless/.local/share/docker"]
        .map(|root| (Format::Docker, format!("{root}/containers/{id}/config.v2.json")));
    match engine {
        Engine::Docker => docker.to_vec(),
        Engine::Podman => {
            let roots = ["/var/lib/containers", "/home/podman/.local/share/containers"];
            let lists = ["overlay", "vfs"].into_iter().flat_map(|driver| {
                ["containers.json", "volatile-containers.json"]
                    .map(|list| format!("storage/{driver}-containers/{list}"))
            });
            let in_roots = lists.flat_map(|list| roots.map(|root| format!("{root}/{list}")));
            in_roots.map(|path| (Format::Storage, path)).collect()
        }
        // Its solver keeps no names.
        Engine::BuildKit => Vec::new(),
        Engine::Other => {
            let states = ["/run/containerd", "/run/k3s/containerd"];
            let bundles = states.into_iter().flat_map(|state| {
                ["k8s.io", "default"].map(|namespace| {
                    format!("{state}/io.containerd.runtime.v2.task/{namespace}/{id}/config.json")
                })
            });
            bundles.map(|path| (Format::Bundle, path)).chain(docker).collect()
        }
    }
}

/// Reads a container's name and image from a file; `None` if it has none.
pub(super) fn parse(format: Format, id: &str, text: &[u8]) -> Option<EngineNames> {
    let (name, image) = match format {
        Format::Docker => docker(text),
        Format::Storage => storage(id, text),
        Format::Bundle => bundle(text),
    }?;
    let names = EngineNames {
        name: name.map(|name| name.trim_start_matches('/').to_owned()).filter(|name| is_name(name)),
        image: image.filter(|image| is_image(image)),
    };
    (names != EngineNames::default()).then_some(names)
}

type Found = Option<(Option<String>, Option<String>)>;

fn docker(text: &[u8]) -> Found {
    #[derive(Deserialize)]
    struct Container {
        #[serde(rename = "Name")]
        name: Option<String>,
        #[serde(rename = "Config")]
        config: Option<Config>,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Image")]
        image: Option<String>,
    }
    let Container { name, config } = serde_json::from_slice(text).ok()?;
    Some((name, config?.image))
}

fn storage(id: &str, text: &[u8]) -> Found {
    #[derive(Deserialize)]
    struct Container {
        id: String,
        names: Option<Vec<String>>,
        metadata: Option<String>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "image-name")]
        image: Option<String>,
    }
    let all: Vec<Container> = serde_json::from_slice(text).ok()?;
    let found = all.into_iter().find(|container| container.id == id)?;
    let metadata = found.metadata.and_then(|text| serde_json::from_str::<Metadata>(&text).ok());
    Some((found.names.unwrap_or_default().into_iter().next(), metadata.and_then(|one| one.image)))
}

fn bundle(text: &[u8]) -> Found {
    #[derive(Deserialize)]
    struct Spec {
        annotations: Option<BTreeMap<String, String>>,
    }
    let Spec { annotations } = serde_json::from_slice(text).ok()?;
    let annotations = annotations?;
    let annotation = |key: &str| annotations.get(key).map(String::as_str);
    // Containers of several pods have the same name.
    let of_pod = annotation("io.kubernetes.cri.sandbox-name").map(|pod| {
        let container = annotation("io.kubernetes.cri.container-name").unwrap_or("POD");
        format!("{pod}.{container}")
    });
    let name = of_pod.or_else(|| annotation("nerdctl/name").map(str::to_owned));
    Some((name, annotation("io.kubernetes.cri.image-name").map(str::to_owned)))
}

/// Docker's own rule, and what others accept: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(letter)
}

/// A reference: registry, path, tag, digest.
fn is_image(image: &str) -> bool {
    let letter = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b':' | b'@')
    };
    !image.is_empty() && image.len() <= MAX_IMAGE && image.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

    fn names(name: &str, image: &str) -> EngineNames {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        EngineNames { name: text(name), image: text(image) }
    }

    /// As Debian 12's packages wrote them: `/var/lib/docker/containers/ID/config.v2.json` of a running
    /// container, and `/var/lib/containers/storage/vfs-containers/containers.json`.
    #[test]
    fn files_that_real_engines_wrote_have_name_and_image() {
        let docker = include_bytes!("recorded/docker-20.10.24.json");
        assert_eq!(parse(Format::Docker, ID, docker), Some(names("long", "nested:1")));
        let podman = include_bytes!("recorded/podman-4.3.1.json");
        let id = "652663d213cc7ed22a71e6adc9ec85acddd2119f4e2654eaa527f91f9e6b9f63";
        let expected = names("plong", "docker.io/library/nested:1");
        assert_eq!(parse(Format::Storage, id, podman), Some(expected));
    }

    #[test]
    fn each_engines_file_has_name_and_image() {
        let docker = br#"{"StreamConfig":{},"State":{"Running":true},"ID":"a","Name":"/redis_1",
            "Config":{"Env":["TOKEN=secret"],"Image":"redis:7"}}"#;
        assert_eq!(parse(Format::Docker, ID, docker), Some(names("redis_1", "redis:7")));
        let storage = format!(
            r#"[{{"id":"b","names":["other"]}},{{"id":"{ID}","names":["web"],"image":"sha",
            "metadata":"{{\"image-name\":\"docker.io/library/nginx:1\",\"name\":\"web\"}}"}}]"#
        );
        let expected = names("web", "docker.io/library/nginx:1");
        assert_eq!(parse(Format::Storage, ID, storage.as_bytes()), Some(expected));
        assert_eq!(parse(Format::Storage, "c", storage.as_bytes()), None);
        let bundle = br#"{"ociVersion":"1.2","process":{"env":["TOKEN=secret"]},"annotations":{
            "io.kubernetes.cri.container-name":"coredns","io.kubernetes.cri.image-name":"r/coredns:1",
            "io.kubernetes.cri.sandbox-name":"coredns-x"}}"#;
        assert_eq!(
            parse(Format::Bundle, ID, bundle),
            Some(names("coredns-x.coredns", "r/coredns:1"))
        );
        let nerdctl = br#"{"annotations":{"nerdctl/name":"db"}}"#;
        assert_eq!(parse(Format::Bundle, ID, nerdctl), Some(names("db", "")));
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "/", "a b", "a\\n", "-x", "runner\",pod=\"x", "\u{202e}x", &long] {
            let text = serde_json::json!({ "Name": name, "Config": { "Image": "i" } }).to_string();
            assert_eq!(parse(Format::Docker, ID, text.as_bytes()), Some(names("", "i")), "{name}");
        }
        for image in ["", "a b", "https://user:password@x?", "\u{1b}[0m"] {
            let text = serde_json::json!({ "Name": "n", "Config": { "Image": image } }).to_string();
            assert_eq!(parse(Format::Docker, ID, text.as_bytes()), Some(names("n", "")), "{image}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{}", "[]", "null", "{\"Name\":7}", &deep] {
            for format in [Format::Docker, Format::Storage, Format::Bundle] {
                assert_eq!(parse(format, ID, text.as_bytes()), None);
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<Vec<u8>>()) {
            for format in [Format::Docker, Format::Storage, Format::Bundle] {
                let _ = parse(format, ID, &text);
            }
        }
    }
}

//! `--volume` and `--mount` as entries of `volumes:` (docker/cli, `internal/volumespec` and
//! `opts/mount.go`).

use ephemon_contract::Tmpfs;

use crate::request::Mount;

/// The kinds of `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Volume(Mount),
    Tmpfs(Tmpfs),
    /// An unsupported kind of mount.
    Other,
}

/// `TARGET`, `SOURCE:TARGET`, `SOURCE:TARGET:MODE`.
pub(super) fn short(text: &str) -> Option<Mount> {
    let mut parts = text.splitn(3, ':');
    let (first, second, mode) = (parts.next()?, parts.next(), parts.next());
    let (source, target) = match second {
        Some(target) => (Some(first), target),
        None => (None, first),
    };
    mount(source, target, mode.is_some_and(|mode| mode.split(',').any(|word| word == "ro")))
}

/// `type=bind,source=/a,target=/b,readonly`.
pub(super) fn long(text: &str) -> Option<Asked> {
    let (mut kind, mut source, mut target, mut read_only) = ("volume", None, "", false);
    let mut data = Vec::new();
    for field in text.split(',').map(|field| field.trim_matches('"')) {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key.to_ascii_lowercase().as_str() {
            "type" => kind = value,
            "source" | "src" => source = Some(value),
            "target" | "dst" | "destination" => target = value,
            "readonly" | "ro" => read_only = !matches!(value, "false" | "0"),
            "tmpfs-size" => data.push(format!("size={value}")),
            "tmpfs-mode" => data.push(format!("mode={value}")),
            _ => {}
        }
    }
    Some(match kind.to_ascii_lowercase().as_str() {
        "bind" | "volume" => Asked::Volume(mount(source, target, read_only)?),
        "tmpfs" => Asked::Tmpfs(format!("{target}:{}", data.join(",")).parse().ok()?),
        _ => Asked::Other,
    })
}

fn mount(source: Option<&str>, target: &str, read_only: bool) -> Option<Mount> {
    let source = source.filter(|source| !source.is_empty());
    if !target.starts_with('/') {
        return None;
    }
    let shown = source.map_or(target.to_owned(), |source| format!("{source}:{target}"));
    Some(Mount {
        user_provided_value: Some(shown),
        source_volume_path: source.map(str::to_owned),
        target_volume_path: target.to_owned(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(mount: &Mount) -> (Option<&str>, &str, bool) {
        (mount.source_volume_path.as_deref(), &mount.target_volume_path, mount.read_only)
    }

    #[test]
    fn both_forms_are_read() {
        for (text, expected) in [
            ("/data", (None, "/data", false)),
            ("cache:/c", (Some("cache"), "/c", false)),
            ("/a:/b:ro,z", (Some("/a"), "/b", true)),
            ("/a:/b:rw", (Some("/a"), "/b", false)),
        ] {
            assert_eq!(fields(&short(text).unwrap()), expected, "{text}");
        }
        for (text, expected) in [
            ("type=bind,source=/a,target=/b,readonly", (Some("/a"), "/b", true)),
            ("src=cache,dst=/c,ro=false", (Some("cache"), "/c", false)),
            ("type=volume,destination=/c", (None, "/c", false)),
        ] {
            let Some(Asked::Volume(mount)) = long(text) else { panic!("{text}") };
            assert_eq!(fields(&mount), expected, "{text}");
        }
        let Some(Asked::Tmpfs(tmpfs)) = long("type=tmpfs,target=/t,tmpfs-size=64m") else {
            panic!()
        };
        assert_eq!(tmpfs.to_string(), "/t:size=64m");
        assert_eq!(long("type=npipe,target=/t"), Some(Asked::Other));
        for bad in ["", "a", "a:b", "/a:b"] {
            assert_eq!(short(bad), None, "{bad}");
        }
        assert_eq!(long("type=bind,source=/a"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in ".{0,60}") {
            drop((short(&text), long(&text)));
        }
    }
}

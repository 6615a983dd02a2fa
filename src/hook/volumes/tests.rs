//! `volumes:` of requests, and the resulting mounts and links.

use serde_json::{Value, json};

use super::*;

fn pod() -> PodView {
    let empty = |name: &str| json!({"name": name, "emptyDir": {}});
    let mut volumes: Vec<Value> = OWN.iter().map(|name| empty(name)).collect();
    volumes.extend(["cache", "shm", "tools", "sock", RUNNER_IMAGE].map(empty));
    volumes.push(json!({"name": "kube-api-access-x", "projected": {}}));
    volumes.push(json!({"name": "node", "hostPath": {"path": "/"}}));
    let mounts = [
        ("work", "/home/runner/_work"),
        ("ephemon", "/ephemon"),
        ("tools", "/opt/tools"),
        ("sock", "/run/docker"),
        ("node", "/host"),
    ];
    let mounts = mounts.map(|(name, path)| json!({"name": name, "mountPath": path}));
    let pod = json!({"spec": {
        "containers": [{"name": "runner", "volumeMounts": mounts}], "volumes": volumes,
    }});
    PodView::of(&serde_json::from_value(pod).unwrap())
}

fn settings() -> Settings {
    Settings::from_env(|name| match name {
        "RUNNER_TEMP" => Some("/home/runner/_work/_temp".to_owned()),
        "GITHUB_WORKSPACE" => Some("/home/runner/_work/r/r".to_owned()),
        _ => None,
    })
}

/// Splits an entry as the runner does (actions/runner 2.336, `ContainerInfo.cs`).
fn entry(text: &str) -> Value {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target, mode] => (Some(source), target, mode.eq_ignore_ascii_case("ro")),
        [target, "ro"] => (None, target, true),
        [source, target] => (Some(source), target, false),
        _ => (None, text, false),
    };
    json!({
        "userProvidedValue": text, "sourceVolumePath": source, "targetVolumePath": target,
        "readOnly": read_only,
    })
}

fn container(volumes: &[&str]) -> Container {
    let volumes: Vec<Value> = volumes.iter().map(|text| entry(text)).collect();
    serde_json::from_value(json!({"userMountVolumes": volumes})).unwrap()
}

fn planned(volumes: &[&str], has_init: bool) -> Result<Volumes, Error> {
    let (pod, settings) = (pod(), settings());
    plan(&container(volumes), Means { pod: &pod, settings: &settings, has_init, has_work: true })
}

/// Mounts as `NAME PATH[ ro]`, links as `PATH -> TARGET`, directories as `PATH/`.
fn come_to(text: &str, has_init: bool) -> String {
    let volumes = planned(&[text], has_init).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mounts = volumes.mounts.iter().map(|mount| {
        assert_eq!((&mount.sub_path, &mount.sub_path_expr), (&None, &None), "{text}");
        let read_only = if mount.read_only == Some(true) { " ro" } else { "" };
        format!("{} {}{read_only}", mount.name, mount.mount_path)
    });
    let links = volumes.links.iter().map(|link| format!("{} -> {}", link.path, link.target));
    let directories = volumes.directories.iter().map(|path| format!("{path}/"));
    directories.chain(mounts).chain(links).collect::<Vec<_>>().join(", ")
}

#[test]
fn volumes_come_to_what_an_ephemeral_container_can_have() {
    for (text, expected) in [
        // A volume of the pod as a whole, over the image's content.
        ("cache:/var/cache", "cache /var/cache"),
        ("cache:/var/cache:ro", "cache /var/cache ro"),
        ("cache://var/./x/../cache/", "cache /var/cache"),
        ("cache:/__w/r/r/node_modules", "cache /__w/r/r/node_modules"),
        ("shm:/dev/shm", "shm /dev/shm"),
        // The same for its path in the runner's container.
        ("/opt/tools:/opt/tools", "tools /opt/tools"),
        ("/opt/tools/a/b:/b", "tools /__v/tools, /b -> /__v/tools/a/b"),
        ("/opt/tools/a:/b:ro", "tools /__v/tools_ro ro, /b -> /__v/tools_ro/a"),
        (
            "/run/docker/docker.sock:/var/run/docker.sock",
            "sock /__v/sock, /var/run/docker.sock -> /__v/sock/docker.sock",
        ),
        // A directory of the workspace.
        ("/home/runner/_work/r/r/data:/data", "/__w/r/r/data/, /data -> /__w/r/r/data"),
        ("/home/runner/_work/r/r:/go/src/a/b/c", "/__w/r/r/, /go/src/a/b/c -> /__w/r/r"),
        (
            "/home/runner/_work/r/r:/home/runner/_work/r/r",
            "/__w/r/r/, /home/runner/_work/r/r -> /__w/r/r",
        ),
        ("/home/runner/_work/r/r:/src:ro", "/__w/r/r/, work /__w_ro ro, /src -> /__w_ro/r/r"),
        ("/home/runner/_work//r/x/../r/:/src", "/__w/r/r/, /src -> /__w/r/r"),
        ("/home/runner/_work/r/r/a:/__w/r/r/b", "/__w/r/r/a/, /__w/r/r/b -> a"),
        // What exists already.
        ("/home/runner/_work/r/r:/__w/r/r", ""),
        ("/home/runner/_work:/__w", ""),
        ("/home/runner/_work/r/r:/github/workspace", ""),
        ("/home/runner/_work/_temp/_github_home:/github/home", ""),
        ("/dev/shm:/dev/shm", ""),
        // Anonymous, and unnamed.
        ("/data", "/data/"),
        ("/data/", "/data/"),
        ("pgdata:/var/lib/postgresql/data", "/var/lib/postgresql/data/"),
        ("/proc/x", ""),
    ] {
        assert_eq!(come_to(text, true), expected, "{text}");
    }
    // Without init nothing can be created, and the image's own file system is used.
    for (text, expected) in [
        ("/data", ""),
        ("pgdata:/var/lib/postgresql/data", ""),
        ("cache:/var/cache", "cache /var/cache"),
        ("/opt/tools:/t", "tools /t"),
        ("/home/runner/_work/r/r:/__w/r/r", ""),
    ] {
        assert_eq!(come_to(text, false), expected, "{text}");
    }
}

#[test]
fn a_service_gets_the_work_volume_with_what_is_in_it() {
    let (pod, settings) = (pod(), settings());
    let of = |text: &str, has_init| {
        let means = Means { pod: &pod, settings: &settings, has_init, has_work: false };
        let volumes = plan(&container(&[text]), means)?;
        let mounts = volumes.mounts.into_iter().map(|mount| mount.mount_path);
        let links =
            volumes.links.into_iter().map(|link| format!("{} -> {}", link.path, link.target));
        Ok(mounts.chain(links).collect::<Vec<_>>().join(", "))
    };
    let work = "/home/runner/_work/r/r";
    let is = |text: &str| Ok::<_, Error>(text.to_owned());
    assert_eq!(of(&format!("{work}:/src"), true), is("/__w, /src -> /__w/r/r"));
    assert_eq!(of(&format!("{work}:/src:ro"), true), is("/__w, /__w_ro, /src -> /__w_ro/r/r"));
    let linked = "/__w, /github/workspace -> /__w/r/r";
    assert_eq!(of(&format!("{work}:/github/workspace"), true), is(linked));
    // At the same path only the volume is needed.
    assert_eq!(of(&format!("{work}:/__w/r/r"), false), is("/__w"));
    assert!(matches!(of(&format!("{work}:/src"), false), Err(Error::NoInit(_))));
}

#[test]
fn what_cannot_be_had_is_refused_with_a_sentence() {
    let refused = |text: &str, has_init| {
        let error = planned(&[text], has_init).err();
        error.unwrap_or_else(|| panic!("{text} is taken"))
    };
    for text in ["kube-api-access-x:/t", "node:/n", "ephemon:/e", "work:/w", "runner-image:/i"] {
        assert!(matches!(refused(text, true), Error::Forbidden(_)), "{text}");
    }
    // The same for their paths.
    for text in ["/ephemon/run:/e", "/host/etc:/e", "/host:/e"] {
        assert!(matches!(refused(text, true), Error::Forbidden(_)), "{text}");
    }
    for text in
        ["/etc:/host", "/home/runner/_work/../..:/host", "./data:/data", "~/x:/x", "/dev/kvm:/x"]
    {
        assert!(matches!(refused(text, true), Error::HostPath(_)), "{text}");
    }
    for text in [
        "cache:/__w",
        "cache:/a/../github/x",
        "cache:/__w_ro",
        "cache:/dev/x",
        "cache:/proc/x",
        "/home/runner/_work/r:/github/workspace",
        "/home/runner/_work/r/r/a:/__w/r/r",
    ] {
        assert!(matches!(refused(text, true), Error::Reserved(_)), "{text}");
    }
    for text in ["cache:relative", "cache:/", "cache:/a/..", "a:/b:c:/d", "relative"] {
        assert!(matches!(refused(text, true), Error::Target(_)), "{text}");
    }
    for text in ["/home/runner/_work/r:/d", "/opt/tools/a:/d"] {
        assert!(matches!(refused(text, false), Error::NoInit(_)), "{text}");
    }
    let twice = planned(&["cache:/d", "/d/"], true);
    assert_eq!(twice, Err(Error::Twice("/d".to_owned())));
}

#[test]
fn what_is_left_out_without_harm_is_a_warning() {
    for (text, words) in [
        ("/var/run/docker.sock:/var/run/docker.sock", "no Docker daemon"),
        ("pgdata:/var/lib/postgresql/data", "no volume \"pgdata\""),
        ("/home/runner/_work/r/r:/__w/r/r:ro", "can be written to"),
    ] {
        for has_init in [true, false] {
            let volumes = planned(&[text], has_init).unwrap();
            assert_eq!((volumes.mounts.len(), volumes.links.len()), (0, 0), "{text}");
            assert!(volumes.warnings.join("\n").contains(words), "{text}: {:?}", volumes.warnings);
        }
    }
}

#[test]
fn a_volume_of_several_containers_that_the_pod_lacks_is_refused() {
    let check = |containers: &[&[&str]]| {
        let containers: Vec<Container> = containers.iter().map(|list| container(list)).collect();
        check_shared(containers.iter(), &pod())
    };
    assert_eq!(
        check(&[&["a:/x", "cache:/c"], &["b:/x", "cache:/c", "/anonymous"], &["/y"]]),
        Ok(())
    );
    assert_eq!(check(&[&["a:/x"], &["a:/y"]]), Err(Error::Shared("a".to_owned())));
}

#[test]
fn the_tool_cache_is_found_wherever_the_runner_has_it() {
    let of = |source: &str| {
        let asked = json!({"systemMountVolumes": [
            {"sourceVolumePath": "/home/runner/_work", "targetVolumePath": "/__w"},
            {"sourceVolumePath": source, "targetVolumePath": "/__t"},
        ]});
        let asked: Container = serde_json::from_value(asked).unwrap();
        let (pod, settings) = (pod(), settings());
        let volumes =
            plan(&asked, Means { pod: &pod, settings: &settings, has_init: true, has_work: true });
        let volumes = volumes.unwrap();
        let mounts =
            volumes.mounts.iter().map(|mount| format!("{} {}", mount.name, mount.mount_path));
        let links = volumes.links.iter().map(|link| format!("{} -> {}", link.path, link.target));
        (mounts.chain(links).collect::<Vec<_>>().join(", "), volumes.warnings.len())
    };
    assert_eq!(of("/opt/tools"), ("tools /__t".into(), 0));
    assert_eq!(of("/opt/tools/x"), ("tools /__v/tools, /__t -> /__v/tools/x".into(), 0));
    assert_eq!(of("/home/runner/_work/elsewhere"), ("/__t -> /__w/elsewhere".into(), 0));
    assert_eq!(of("/opt/hostedtoolcache"), ("/__t -> /__w/_tool".into(), 1));
    assert_eq!(of("/host/tools"), ("/__t -> /__w/_tool".into(), 1));
}

#[test]
fn a_source_that_the_runner_does_not_have_begins_empty() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("usr")).unwrap();
    let (pod, settings) = (pod(), Settings { root: root.path().to_owned(), ..settings() });
    let planned = |volume| {
        let means = Means { pod: &pod, settings: &settings, has_init: true, has_work: true };
        plan(&container(&[volume]), means)
    };
    let missing = planned("/usr/local/cargo/registry:/r").unwrap();
    assert_eq!((missing.directories, missing.warnings.len()), (vec!["/r".to_owned()], 1));
    for held in ["/usr:/host", "/dev/kvm:/kvm"] {
        assert!(matches!(planned(held), Err(Error::HostPath(_))), "{held}");
    }
}

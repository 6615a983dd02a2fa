//! Kubeconfig files as people have them, with and without proxies.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A kubeconfig with the clusters `a` and `b`, of which `a` is selected.
fn kubeconfig(a: &str, b: &str) -> String {
    format!(
        r"
clusters:
- name: a
  cluster: {{server: 'https://a.example.org:6443'{a}}}
- name: b
  cluster: {{server: 'https://b.example.org'{b}}}
contexts:
- name: current
  context: {{cluster: a, user: u, namespace: runners}}
current-context: current
users:
- name: u
  user: {{token: secret-token}}
"
    )
}

async fn load_text(text: &str) -> Result<Config, Error> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config");
    fs::write(&path, text).unwrap();
    load(Some(&path)).await
}

#[tokio::test]
async fn the_selected_cluster_is_reached_directly() {
    let proxies = [
        ("", ""),
        (", proxy-url: ''", ""),
        (", proxy-url: null", ", proxy-url: 'http://u:secret@p:3128'"),
    ];
    for (a, b) in proxies {
        let config = load_text(&kubeconfig(a, b)).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://a.example.org:6443/");
        assert_eq!(config.default_namespace, "runners");
        assert_eq!(config.proxy_url, None, "{a:?} {b:?}");
    }
}

/// A cluster without a proxy has the placeholder, so that kube does not read `HTTPS_PROXY`.
#[test]
fn no_proxy_is_taken_from_the_environment() {
    for (a, b) in [("", ""), (", proxy-url: ''", ", proxy-url: 'http://p:3128'")] {
        let mut kubeconfig = Kubeconfig::from_yaml(&kubeconfig(a, b)).unwrap();
        assert_eq!(take_proxies(&mut kubeconfig), None);
        for named in kubeconfig.clusters {
            assert_eq!(named.cluster.unwrap().proxy_url.as_deref(), Some(UNUSED_PROXY));
        }
    }
}

#[tokio::test]
async fn a_proxy_of_the_selected_cluster_is_an_error_that_names_file_and_cluster() {
    let text = kubeconfig(", proxy-url: 'http://u:secret@p:3128'", "");
    let error = load_text(&text).await.unwrap_err();
    assert!(matches!(&error, Error::Proxy { cluster, .. } if cluster == "a"), "{error}");
    let message = error.to_string();
    assert!(message.contains("/config sets `proxy-url` for the cluster a"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn for_a_person_the_proxy_of_the_selected_cluster_is_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config");
    for (a, proxy) in [
        (", proxy-url: 'http://u:secret@p:3128'", Some("http://u:secret@p:3128/")),
        (", proxy-url: ''", None),
        ("", None),
    ] {
        fs::write(&path, kubeconfig(a, ", proxy-url: 'http://other:1'")).unwrap();
        let config = load_as_kubectl(Some(&path), None).await.unwrap();
        assert_eq!(config.proxy_url.map(|url| url.to_string()).as_deref(), proxy, "{a:?}");
    }
    fs::write(&path, kubeconfig(", proxy-url: 'http://u:secret@ p'", "")).unwrap();
    let error = load_as_kubectl(Some(&path), None).await.unwrap_err().to_string();
    assert!(error.contains("proxy") && !error.contains("secret"), "{error}");
}

/// What the variable's files say together.
async fn load_listed(paths: &[&Path]) -> Result<Option<Config>, Error> {
    let list = std::env::join_paths(paths).unwrap();
    from_files(&Files::chosen(None, Some(list)).unwrap(), None, Proxies::Refused).await
}

#[tokio::test]
async fn of_several_files_the_first_that_has_a_setting_counts() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let text = "contexts:\n- name: other\n  context: {cluster: b, user: u}\n";
    fs::write(&second, kubeconfig("", "")).unwrap();
    // `kubectl config unset current-context` leaves an empty name.
    for (current, host) in [
        ("", "a.example.org"),
        ("current-context: ''\n", "a.example.org"),
        ("current-context: other\n", "b.example.org"),
    ] {
        fs::write(&first, format!("{text}{current}")).unwrap();
        let config = load_listed(&[&first, Path::new(""), &second]).await.unwrap().unwrap();
        assert_eq!(config.cluster_url.host(), Some(host), "{current}");
    }
}

/// As kubectl does it with the files of `KUBECONFIG`.
#[tokio::test]
async fn of_several_files_some_may_be_missing_but_not_all() {
    let directory = TempDir::new().unwrap();
    let [there, missing] = ["there", "missing"].map(|name| directory.path().join(name));
    fs::write(&there, kubeconfig("", "")).unwrap();
    let config = load_listed(&[&missing, &there]).await.unwrap().unwrap();
    assert_eq!(config.cluster_url.host(), Some("a.example.org"));
    assert!(load_listed(&[&missing, &missing]).await.unwrap().is_none());
    // A file that is there and cannot be read is an error, whatever the others are.
    let error = load_listed(&[directory.path(), &there]).await.unwrap_err();
    assert!(matches!(&error, Error::Kubeconfig { .. }), "{error}");
}

/// As kubectl does it with `--kubeconfig` (client-go, `ExplicitPath`).
#[tokio::test]
async fn a_file_that_is_named_is_one_and_must_be_there() {
    let directory = TempDir::new().unwrap();
    let [there, missing, colon] =
        ["there", "missing", "a:b"].map(|name| directory.path().join(name));
    fs::write(&there, kubeconfig("", "")).unwrap();
    let list = std::env::join_paths([&there, &missing]).unwrap();
    for absent in [missing.as_path(), Path::new(&list)] {
        let error = load(Some(absent)).await.unwrap_err();
        assert!(matches!(&error, Error::Missing { path } if path == absent), "{error}");
        let error = load_as_kubectl(Some(absent), None).await.unwrap_err();
        assert!(matches!(&error, Error::Missing { path } if path == absent), "{error}");
    }
    fs::write(&colon, kubeconfig("", "")).unwrap();
    let config = load(Some(&colon)).await.unwrap();
    assert_eq!(config.cluster_url.host(), Some("a.example.org"));
    // It is used whatever the variable lists, and an empty variable is none.
    let one = Files::One(colon.clone());
    assert_eq!(Files::chosen(Some(&colon), Some("other".into())), Some(one));
    assert_eq!(Files::chosen(None, Some(OsString::new())), None);
    assert_eq!(Files::chosen(None, None), None);
}

#[tokio::test]
async fn a_context_needs_a_kubeconfig() {
    let error = of_pod(Some("prod")).unwrap_err().to_string();
    assert!(error.contains("\"prod\"") && error.contains("no kubeconfig"), "{error}");
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config");
    fs::write(&path, kubeconfig("", "")).unwrap();
    let load = |context| load_as_kubectl(Some(&path), Some(context));
    assert_eq!(load("current").await.unwrap().default_namespace, "runners");
    let error = load("absent").await.unwrap_err().to_string();
    assert!(error.contains("absent"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let error = load(Some(Path::new("/nonexistent/config"))).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/config"), "{error}");
    let error = load_text("clusters: 1").await.unwrap_err();
    assert!(matches!(error, Error::Kubeconfig { .. }), "{error}");
    let error = load_text("current-context: absent").await.unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

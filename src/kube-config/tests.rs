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
        disable_proxies(&mut kubeconfig).unwrap();
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
async fn of_several_files_the_first_that_has_a_setting_counts() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    fs::write(&first, "contexts:\n- name: other\n  context: {cluster: b, user: u}\n").unwrap();
    fs::write(&second, kubeconfig("", "")).unwrap();
    let both = |first: &Path, second: &Path| std::env::join_paths([first, Path::new(""), second]);
    let list = both(&first, &second).unwrap();
    let config = load(Some(Path::new(&list))).await.unwrap();
    assert_eq!(config.cluster_url.host(), Some("a.example.org"));

    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, format!("{text}current-context: other\n")).unwrap();
    let config = load(Some(Path::new(&list))).await.unwrap();
    assert_eq!(config.cluster_url.host(), Some("b.example.org"));
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

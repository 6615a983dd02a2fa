//! The way through a proxy, as the environment names it.

use ephemon_export::Fate;
use ephemon_otel::Signal;
use ephemon_self_metrics::Exported;

use super::BOTH;
use super::rig::{Line, numbers, payload};
use crate::support::collector::pki::Pki;
use crate::support::collector::{Collector, Wire};
use crate::support::proxy::{COLLECTOR, Manner, Proxy};

/// The collector by the name that only the proxy knows.
fn behind(collector: &Collector) -> String {
    collector.endpoint().replace("localhost", COLLECTOR)
}

/// What the proxy is asked for such a collector: a tunnel, unless it may pass on what it is sent.
fn question(collector: &Collector, wire: Wire, is_secure: bool) -> String {
    let place = format!("{COLLECTOR}:{}", collector.address.port());
    if wire == Wire::Http && !is_secure {
        format!("POST http://{place}/v1/logs HTTP/1.1")
    } else {
        format!("CONNECT {place} HTTP/1.1")
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_in_the_clear_and_over_tls() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let files = pki.write(home.path());
    for wire in BOTH {
        for pki in [None, Some(&pki)] {
            let collector = Collector::start(wire, pki).await;
            let proxy = Proxy::start(Manner { wants: Some("ci:hunter@2"), ..Manner::default() });
            let variable = if pki.is_some() { "HTTPS_PROXY" } else { "HTTP_PROXY" };
            let mut line = Line::to(&collector)
                .set("ENDPOINT", &behind(&collector))
                .set("HEADERS", "authorization=Bearer%20x")
                .env(variable, &proxy.url("ci:hunter%402@"));
            if pki.is_some() {
                line = line
                    .set("CERTIFICATE", files.authority.to_str().unwrap())
                    .set("CLIENT_CERTIFICATE", files.certificate.to_str().unwrap())
                    .set("CLIENT_KEY", files.key.to_str().unwrap());
            }
            let line = line.start(Signal::Logs);
            assert_eq!(line.give(payload(1..3)).await, Fate::Acknowledged, "{wire:?}");
            assert_eq!(line.give(payload(3..4)).await, Fate::Acknowledged, "{wire:?}");
            assert_eq!(numbers(&collector), [1, 2, 3]);
            assert_eq!(proxy.asked()[0], question(&collector, wire, pki.is_some()));
            let headers = collector.headers();
            assert!(headers.iter().all(|headers| headers["authorization"] == "Bearer x"));
            // Inside a tunnel nobody but us would take it away.
            assert!(headers.iter().all(|headers| !headers.contains_key("proxy-authorization")));
        }
    }
}

#[tokio::test]
async fn user_and_password_are_the_proxys_alone() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let proxy = Proxy::start(Manner { wants: Some("ci:hunter@2"), ..Manner::default() });
        // In small letters, and for every scheme.
        let line = Line::to(&collector)
            .set("ENDPOINT", &behind(&collector))
            .env("all_proxy", &proxy.url("ci:hunter%402@"))
            .start(Signal::Logs);
        assert_eq!(line.give(payload(1..3)).await, Fate::Acknowledged, "{wire:?}");
        let headers = collector.headers();
        assert!(headers.iter().all(|headers| !headers.contains_key("proxy-authorization")));
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_an_outage() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        for (manner, http) in [
            (Manner { wants: Some("ci:x"), ..Manner::default() }, Exported::Denied),
            (Manner { refuses: Some("503 Not Now"), ..Manner::default() }, Exported::Retried),
            (
                Manner { refuses: Some("500 Unable to connect"), ..Manner::default() },
                Exported::Retried,
            ),
        ] {
            let proxy = Proxy::start(manner);
            let line = Line::to(&collector)
                .set("ENDPOINT", &behind(&collector))
                .env("HTTP_PROXY", &proxy.url(""))
                .start(Signal::Logs);
            let mut receipt = line.outbox.offer(payload(1..2)).unwrap();
            // By HTTP the proxy's status is the answer; a tunnel is a connection that failed.
            let counted = if wire == Wire::Http { http } else { Exported::Retried };
            while line.exported(counted) == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!((receipt.try_fate(), collector.attempts()), (None, 0), "{wire:?}");
            line.kill().await;
        }
    }
}

#[tokio::test]
async fn what_no_proxy_names_is_reached_directly() {
    for wire in BOTH {
        let collector = Collector::start(wire, None).await;
        let proxy = Proxy::start(Manner::default());
        // An address of this host that is no loopback address by its form.
        let unspecified = collector.endpoint().replace("localhost", "0.0.0.0");
        let port = collector.address.port();
        for (endpoint, no_proxy, is_proxied) in [
            (collector.endpoint(), String::new(), false),
            (unspecified.clone(), "0.0.0.0".into(), false),
            (unspecified.clone(), format!("example.com, 0.0.0.0:{port}"), false),
            (unspecified.clone(), "0.0.0.0:1,.example.com".into(), true),
            (unspecified, String::new(), true),
        ] {
            let before = proxy.asked().len();
            let line = Line::to(&collector)
                .set("ENDPOINT", &endpoint)
                .env("HTTP_PROXY", &proxy.url(""))
                .env("no_proxy", &no_proxy)
                .start(Signal::Logs);
            assert_eq!(line.give(payload(1..2)).await, Fate::Acknowledged, "{endpoint}");
            assert_eq!(proxy.asked().len() > before, is_proxied, "{endpoint} {no_proxy}");
        }
    }
}

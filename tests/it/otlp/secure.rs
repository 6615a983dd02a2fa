//! The way over TLS, with an authority and client certificates of its own.

use ephemon_export::{Destination, Fate};
use ephemon_otel::Signal;
use ephemon_otel::config::{Config, Exporter};
use ephemon_self_metrics::Exported;

use super::BOTH;
use super::rig::{Line, numbers, payload};
use crate::support::collector::Collector;
use crate::support::collector::pki::Pki;

#[tokio::test]
async fn requests_go_over_tls_with_a_client_certificate() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let files = pki.write(home.path());
    for wire in BOTH {
        for gzip in ["none", "gzip"] {
            let collector = Collector::start(wire, Some(&pki)).await;
            let line = Line::to(&collector)
                .set("COMPRESSION", gzip)
                .set("CERTIFICATE", files.authority.to_str().unwrap())
                .set("CLIENT_CERTIFICATE", files.certificate.to_str().unwrap())
                .set("CLIENT_KEY", files.key.to_str().unwrap())
                .start(Signal::Logs);
            assert_eq!(line.give(payload(1..3)).await, Fate::Acknowledged);
            assert_eq!(numbers(&collector), [1, 2]);
        }
    }
}

#[tokio::test]
async fn nothing_is_told_to_a_collector_that_is_not_trusted_or_does_not_trust_us() {
    let (pki, other) = (Pki::new(), Pki::new());
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (files, others) = (pki.write(homes[0].path()), other.write(homes[1].path()));
    for wire in BOTH {
        let collector = Collector::start(wire, Some(&pki)).await;
        let strange = Line::to(&collector)
            .set("CERTIFICATE", others.authority.to_str().unwrap())
            .set("CLIENT_CERTIFICATE", files.certificate.to_str().unwrap())
            .set("CLIENT_KEY", files.key.to_str().unwrap());
        let unknown = Line::to(&collector).set("CERTIFICATE", files.authority.to_str().unwrap());
        for line in [strange, unknown] {
            let line = line.start(Signal::Logs);
            let mut receipt = line.outbox.offer(payload(1..2)).unwrap();
            while line.exported(Exported::Retried) == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!((receipt.try_fate(), collector.attempts()), (None, 0), "{wire:?}");
            line.kill().await;
        }
    }
}

#[tokio::test]
async fn certificates_that_are_renewed_are_used_without_a_restart() {
    let (old, new) = (Pki::new(), Pki::new());
    for wire in BOTH {
        let home = tempfile::tempdir().unwrap();
        let files = old.write(home.path());
        let collector = Collector::start(wire, Some(&new)).await;
        let line = Line::to(&collector)
            .set("CERTIFICATE", files.authority.to_str().unwrap())
            .set("CLIENT_CERTIFICATE", files.certificate.to_str().unwrap())
            .set("CLIENT_KEY", files.key.to_str().unwrap())
            .start(Signal::Logs);
        let receipt = line.outbox.offer(payload(1..3)).unwrap();
        while line.exported(Exported::Retried) == 0 {
            tokio::task::yield_now().await;
        }
        // Half of a renewal is none: what was there goes on, and is told.
        std::fs::write(&files.key, "").unwrap();
        let before = line.exported(Exported::Retried);
        while line.exported(Exported::Retried) == before {
            tokio::task::yield_now().await;
        }
        new.write(home.path());
        assert_eq!(receipt.await, Fate::Acknowledged, "{wire:?}");
        assert_eq!(numbers(&collector), [1, 2]);
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_its_variable_says_is_named() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let files = pki.write(home.path());
    let missing = home.path().join("missing.pem");
    for (name, path, said) in [
        ("CERTIFICATE", &missing, "cannot read"),
        ("CERTIFICATE", &files.key, "contains no certificate"),
        ("CLIENT_KEY", &files.authority, "contains no private key"),
    ] {
        for protocol in ["grpc", "http/protobuf"] {
            let (config, _) = Config::from_env(|variable| {
                let value = match variable.strip_prefix("OTEL_EXPORTER_OTLP_")? {
                    "ENDPOINT" => "https://localhost:1",
                    "PROTOCOL" => protocol,
                    this if this == name => path.to_str().unwrap(),
                    "CLIENT_CERTIFICATE" => files.certificate.to_str().unwrap(),
                    "CLIENT_KEY" => files.key.to_str().unwrap(),
                    _ => return None,
                };
                Some(value.to_owned())
            });
            let Exporter::Otlp(target) = config.logs else { panic!("off") };
            let destination = Destination::collector(Signal::Logs, &target);
            let error = destination.trouble().unwrap();
            assert!(error.contains(said) && error.contains(name), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}

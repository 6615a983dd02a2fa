//! Readings in, text out, and what is forgotten on the way.

use std::net::IpAddr;

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_model::{Ended, NetUsage, Quality, Usage};

use super::*;
use crate::exposition::strict::read;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

fn uid() -> PodUid {
    PodUid::parse(UID).unwrap()
}

fn id(n: u64) -> ContainerId {
    ContainerId::parse(&format!("{n:012x}{:052x}", 0)).unwrap()
}

/// A container that was over long enough ago not to be waited for.
fn enter(readings: &Readings, n: u64, ended: bool) {
    let at = SystemTime::now() - Duration::from_mins(1) + Duration::from_millis(n);
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(n);
    readings.enter(Record {
        id: id(n),
        pod: uid(),
        created: at,
        is_birth_seen: true,
        read_at: at,
        nested: false,
        usage,
        ended: ended.then_some(Ended { at, quality: Quality::Exact }),
    });
}

fn enter_pod(readings: &Readings, gone: bool, interfaces: usize) {
    let net = |n| NetUsage { interface: format!("eth{n}"), ..NetUsage::default() };
    readings.enter_pod(PodRecord {
        pod: uid(),
        net: (0..interfaces).map(net).collect(),
        accounting_error: Some(0.0),
        beside_cpu_ns: None,
        nested_left_out: 0,
        gone,
    });
}

fn metrics(readings: &Readings, options: Options) -> Metrics {
    let self_metrics = SelfMetrics::new().unwrap();
    Metrics::new(readings.clone(), Inventory::default(), self_metrics, options)
}

/// Of an agent that has listened for longer than anything is kept.
fn long_running() -> Options {
    let options = Options::default();
    Options { began: options.began.checked_sub(options.retain_ended).unwrap(), ..options }
}

fn scraper() -> ScraperId {
    ScraperId::new(IpAddr::from([127, 0, 0, 1]), "Prometheus/2.42.0")
}

fn text(scrape: &Scrape) -> String {
    String::from_utf8(scrape.body.to_vec()).unwrap()
}

/// How often the family's value stands for these labels.
fn dropped(text: &str, reason: &str) -> Option<String> {
    let families = read(text, Format::Text);
    let family = families.get("ephemon_agent_dropped_items_total")?;
    family
        .samples
        .iter()
        .find(|((_, labels), _)| labels["reason"] == reason)
        .map(|(_, value)| value.clone())
}

#[test]
fn an_ended_container_is_forgotten_after_two_scrapes_that_were_written_out() {
    let readings = Readings::default();
    enter(&readings, 1, true);
    enter_pod(&readings, true, 1);
    let metrics = metrics(&readings, long_running());
    for _ in 0..5 {
        drop(metrics.scrape(Format::Text, Some(&scraper())));
        metrics.scrape(Format::Text, None);
    }
    assert_eq!(readings.snapshot().containers.len(), 1, "nothing was confirmed");
    for _ in 0..2 {
        let scrape = metrics.scrape(Format::Text, Some(&scraper()));
        assert!(text(&scrape).contains("container=\"000000000001\""));
        scrape.receipt.unwrap().confirm();
    }
    metrics.sweep();
    assert_eq!(readings.snapshot().containers.len(), 0);
    assert_eq!(readings.snapshot().pods.len(), 0, "its pod goes with it");
    let scrape = metrics.scrape(Format::Text, Some(&scraper()));
    assert_eq!(dropped(&text(&scrape), "expired"), None);
}

#[test]
fn a_living_container_and_its_pod_stay_however_often_they_are_fetched() {
    let readings = Readings::default();
    enter(&readings, 1, false);
    enter_pod(&readings, false, 1);
    let metrics = metrics(&readings, Options::default());
    for _ in 0..5 {
        let scrape = metrics.scrape(Format::OpenMetrics, Some(&scraper()));
        let families = read(&text(&scrape), Format::OpenMetrics);
        assert!(families.contains_key("ephemon_container_cpu_usage_seconds"));
        assert!(families.contains_key("ephemon_pod_network_receive_bytes"));
        assert!(families.contains_key("ephemon_pod_cpu_accounting_error_ratio"));
        assert!(families.contains_key("process_resident_memory_bytes"));
        scrape.receipt.unwrap().confirm();
    }
}

#[test]
fn what_expires_unfetched_is_counted_once() {
    let readings = Readings::default();
    enter(&readings, 1, true);
    let options = Options { retain_ended: Duration::ZERO, ..Options::default() };
    let metrics = metrics(&readings, options);
    metrics.sweep();
    metrics.sweep();
    assert_eq!(readings.snapshot().containers.len(), 0);
    let scrape = metrics.scrape(Format::Text, None);
    assert_eq!(dropped(&text(&scrape), "expired").as_deref(), Some("1"));
}

#[test]
fn above_the_cap_of_series_the_ended_are_left_out_and_counted_once() {
    let readings = Readings::default();
    for n in 1..=3 {
        enter(&readings, n, n != 3);
    }
    // info, start, cpu: three series; the ended have their end and its quality too.
    let options = Options { max_series: 8, ..long_running() };
    let metrics = metrics(&readings, options);
    let shown = |scrape: &Scrape| {
        let text = text(scrape);
        [1, 2, 3].map(|n: u64| text.contains(&format!("container=\"{n:012x}\"")))
    };
    for _ in 0..2 {
        let scrape = metrics.scrape(Format::Text, Some(&scraper()));
        assert_eq!(shown(&scrape), [true, false, true]);
        scrape.receipt.unwrap().confirm();
    }
    let scrape = metrics.scrape(Format::Text, Some(&scraper()));
    assert_eq!(shown(&scrape), [false, true, true], "there is room now");
    assert_eq!(dropped(&text(&scrape), "cap").as_deref(), Some("1"));
    assert_eq!(readings.snapshot().containers.len(), 2, "what was not shown was not fetched");
}

#[test]
fn a_crowd_of_interfaces_is_cut_and_counted_once() {
    let readings = Readings::default();
    enter(&readings, 1, false);
    enter_pod(&readings, false, MAX_INTERFACES + 1);
    let metrics = metrics(&readings, Options::default());
    for _ in 0..3 {
        metrics.scrape(Format::Text, None);
    }
    let text = text(&metrics.scrape(Format::Text, None));
    let families = read(&text, Format::Text);
    let shown = families["ephemon_pod_network_receive_bytes_total"].samples.len();
    assert_eq!(shown, MAX_INTERFACES);
    assert_eq!(dropped(&text, "cap").as_deref(), Some("1"));
}

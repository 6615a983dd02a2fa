//! Debian's Prometheus, and Prometheus 3, asked by their own API what they have.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::http;
use super::parts;
use super::ports;
use super::process::{Running, until};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// A query that has a series once a target was scraped so often that rates have a value.
pub(crate) const SCRAPED: &str = "sum_over_time(up[1m]) > 3";

/// A running Prometheus.
#[derive(Debug)]
pub(crate) struct Prometheus {
    _process: Running,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with its files below `scratch`, scraping each target once a second.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start(scratch: &Path, targets: &[SocketAddr]) -> Self {
        let scrape = json!({ "honor_labels": true, "static_configs": [{ "targets": targets }] });
        Self::start_with(scratch, &scrape, &[])
    }

    /// As [`Self::start`], by a Prometheus that takes native histograms in place of classic ones.
    pub(crate) fn with_native_histograms(scratch: &Path, targets: &[SocketAddr]) -> Self {
        let scrape = json!({ "honor_labels": true, "static_configs": [{ "targets": targets }] });
        Self::start_with(scratch, &scrape, &["--enable-feature=native-histograms"])
    }

    /// As [`Self::start`], by a scrape without `honor_labels` of targets that have the labels which
    /// every monitor of the Prometheus Operator gives them.
    pub(crate) fn without_honor_labels(scratch: &Path, targets: &[SocketAddr]) -> Self {
        let labels =
            json!({ "namespace": "ephemon", "pod": "ephemon-x7k2p", "container": "agent" });
        let scrape = json!({ "static_configs": [{ "targets": targets, "labels": labels }] });
        Self::start_with(scratch, &scrape, &[])
    }

    /// Starts it with this scrape configuration, and with further flags.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start_with(scratch: &Path, scrape: &Value, flags: &[&str]) -> Self {
        Self::launch("prometheus", scratch, scrape, flags)
    }

    /// As [`Self::start_with`], with the Prometheus 3 that `.ci/run` builds.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start_3(scratch: &Path, scrape: &Value, flags: &[&str]) -> Self {
        Self::launch("prometheus-3", scratch, scrape, flags)
    }

    fn launch(program: &str, scratch: &Path, scrape: &Value, flags: &[&str]) -> Self {
        let config = scratch.join("prometheus.yml");
        let mut scrape = scrape.clone();
        scrape["job_name"] = "ephemon".into();
        scrape["scrape_interval"] = "1s".into();
        // JSON is YAML.
        fs::write(&config, json!({ "scrape_configs": [scrape] }).to_string()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let log = File::create(scratch.join("prometheus.log")).unwrap();
        let mut command = Command::new(parts::program(program).unwrap());
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .args(flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = Running::start(&mut command);
        let ready = until(Duration::from_mins(1), || {
            http::get(address, "/-/ready", "*/*").ok().filter(|answer| answer.status == 200)
        });
        let log = || fs::read_to_string(scratch.join("prometheus.log")).unwrap_or_default();
        ready.unwrap_or_else(|| panic!("{program} is not ready:\n{}", log()));
        Self { _process: process, address }
    }

    /// Waits until it has scraped so often that a query has a series, and until the first target's latest
    /// scrape succeeded. On a busy machine some take longer than their second: these fail, and until the next
    /// one no series has a value.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub(crate) fn until_well(&self, scraped: &str) {
        until(PATIENCE, || self.query(scraped).pop())
            .unwrap_or_else(|| panic!("{scraped} has no series: {}", self.target()));
        let well = || {
            let target = self.target();
            (target["health"] == "up" && target["lastError"] == "").then_some(())
        };
        until(PATIENCE, well).unwrap_or_else(|| panic!("{}", self.target()));
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The values an instant query gives.
    pub(crate) fn query(&self, query: &str) -> Vec<f64> {
        let results = self.series(query);
        results.iter().map(|result| result["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The series an instant query gives, as the API has them: `metric`, and `value` or `histogram`.
    pub(crate) fn series(&self, query: &str) -> Vec<Value> {
        let answer = self.api(&format!("/api/v1/query?query={}", encoded(query)));
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
    }

    /// The names of labels that the series of a family have, sorted.
    pub(crate) fn label_names(&self, family: &str) -> Vec<String> {
        let answer = self.api(&format!("/api/v1/labels?match[]={}", encoded(family)));
        let names = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// How many series a query has in the last `seconds`, looked at every two.
    pub(crate) fn series_within(&self, query: &str, seconds: u64) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (query, start) = (encoded(query), now - seconds);
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={now}&step=2");
        let answer = self.api(&path);
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}")).len()
    }

    /// The exemplars it keeps of the last five minutes, of all series of a query.
    pub(crate) fn exemplars(&self, query: &str) -> Vec<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (query, start, end) = (encoded(query), now - 300, now + 60);
        let path = format!("/api/v1/query_exemplars?query={query}&start={start}&end={end}");
        let answer = self.api(&path);
        let series = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
        series.iter().filter_map(|one| one["exemplars"].as_array()).flatten().cloned().collect()
    }

    /// What it thinks of the first target.
    pub(crate) fn target(&self) -> Value {
        self.api("/api/v1/targets?state=active")["data"]["activeTargets"][0].clone()
    }

    fn api(&self, path: &str) -> Value {
        let answer = http::get(self.address, path, "application/json").unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body))
    }
}

/// For a URL.
fn encoded(query: &str) -> String {
    let mut encoded = String::new();
    for byte in query.bytes() {
        write!(encoded, "%{byte:02x}").unwrap();
    }
    encoded
}

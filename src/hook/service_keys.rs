//! The names of services in the workflow. The runner does not send them, but before the first call
//! it logs the job's message, which contains them (actions/runner, `Worker.cs`: `Job message:`).
//! The log has no stable format, so the names are used only if the whole message matches the
//! request; otherwise services have the names of their images.

use serde::Deserialize;
use serde_json::Value;

use super::names;
use super::request::Container;
use super::settings::Settings;
use super::worker_log::WorkerLog;

/// Most bytes of the log that are read. The message contains every step of the job.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The text before the message.
const MARK: &str = "Job message:";

/// The part of the message that is used.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "jobServiceContainers", alias = "JobServiceContainers")]
    services: Option<Mapping>,
}

/// A mapping in the workflow, in its order (`TemplateTokenJsonConverter.cs`).
#[derive(Deserialize)]
struct Mapping {
    #[serde(default)]
    map: Vec<Pair>,
}

/// An entry of a mapping.
#[derive(Deserialize)]
pub(super) struct Pair {
    #[serde(rename = "key", alias = "Key")]
    pub(super) key: Value,
    #[serde(rename = "value", alias = "Value")]
    pub(super) value: Value,
}

/// The key of each service, in the order of the request; empty if unknown.
pub(super) fn of(settings: &Settings, services: &[Container]) -> Vec<String> {
    let text = WorkerLog::newest(settings).and_then(|log| log.head(MAX_BYTES));
    text.and_then(|text| keys(&text, services)).unwrap_or_default()
}

/// The log from the job's message on, if it has one.
pub(super) fn message(settings: &Settings) -> Option<String> {
    let text = WorkerLog::newest(settings)?.head(MAX_BYTES)?;
    Some(text.split_once(MARK)?.1.to_owned())
}

/// All keys, if they match the request.
fn keys(log: &str, services: &[Container]) -> Option<Vec<String>> {
    let (_, message) = log.split_once(MARK)?;
    // The message is followed by other lines of the log.
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<Message>();
    let mut pairs = values.next()?.ok()?.services?.map;
    // The runner omits services without an image.
    pairs.retain(|pair| image(&pair.value) != Some(""));
    let fits = pairs.len() == services.len()
        && pairs.iter().zip(services).all(|(pair, asked)| {
            image(&pair.value).is_none_or(|image| asked.image.as_deref() == Some(image))
        });
    let keys: Vec<String> =
        pairs.iter().filter_map(|pair| literal(&pair.key).map(str::to_owned)).collect();
    // A key has no dots, so that none can replace an Internet host name.
    let is_key = |key: &String| names::is_host_name(key) && !key.contains('.');
    (fits && keys.len() == services.len() && keys.iter().all(is_key)).then_some(keys)
}

/// The image of a service, unless it is an expression.
fn image(service: &Value) -> Option<&str> {
    if let Some(image) = literal(service) {
        return Some(image);
    }
    let pairs: Vec<Pair> = Vec::deserialize(service.get("map")?).ok()?;
    let key = pairs.iter().position(|pair| literal(&pair.key) == Some("image"))?;
    let pair = service.get("map")?.get(key)?;
    literal(pair.get("value").or_else(|| pair.get("Value"))?)
}

/// A text of the workflow: plain, or with its position in the file.
pub(super) fn literal(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("lit")?.as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn service(image: &str) -> Container {
        Container { image: Some(image.to_owned()), ..Container::default() }
    }

    /// As the runner writes it, with lines before and after it.
    fn log(services: &Value) -> String {
        let message = json!({"jobDisplayName": "test", "jobServiceContainers": services});
        format!(
            "[2026-01-01 00:00:00Z INFO Worker] Message received.\n[2026-01-01 00:00:00Z INFO Worker] Job message:\n {message:#}\n[2026-01-01 00:00:01Z INFO Worker] Listening\n"
        )
    }

    fn pair(key: &Value, value: &Value) -> Value {
        json!({"key": key, "value": value})
    }

    fn placed(text: &str) -> Value {
        json!({"type": 0, "file": 1, "line": 9, "col": 7, "lit": text})
    }

    fn mapping(pairs: &[Value]) -> Value {
        json!({"type": 2, "file": 1, "map": pairs})
    }

    #[test]
    fn keys_are_read_in_their_order_whether_or_not_the_image_is_an_expression() {
        let image = |value: &Value| mapping(&[pair(&placed("image"), value)]);
        let expression = json!({"type": 3, "file": 1, "expr": "matrix.db"});
        let text = log(&mapping(&[
            pair(&placed("cache"), &image(&placed("valkey/valkey:8"))),
            pair(&json!("db"), &image(&expression)),
            pair(&placed("left-out"), &image(&json!(""))),
            pair(&placed("mail"), &json!("mailhog")),
        ]));
        let services = [service("valkey/valkey:8"), service("postgres:16"), service("mailhog")];
        assert_eq!(keys(&text, &services).unwrap(), ["cache", "db", "mail"]);
        let capital = text.replace("\"key\"", "\"Key\"").replace("\"value\"", "\"Value\"");
        assert_eq!(keys(&capital, &services).unwrap(), ["cache", "db", "mail"]);
    }

    #[test]
    fn a_message_that_does_not_fit_gives_no_names() {
        let of = |image: &str, key: &str, services: &[Container]| {
            let value = mapping(&[pair(&json!("image"), &json!(image))]);
            keys(&log(&mapping(&[pair(&json!(key), &value)])), services)
        };
        assert_eq!(of("redis", "cache", &[service("redis")]).unwrap(), ["cache"]);
        assert_eq!(of("redis", "cache", &[service("mysql")]), None);
        assert_eq!(of("redis", "cache", &[service("redis"), service("redis")]), None);
        assert_eq!(of("redis", "a\n6.6.6.6 b", &[service("redis")]), None);
        assert_eq!(of("redis", "github.com", &[service("redis")]), None);
        assert_eq!(keys(&log(&Value::Null), &[service("redis")]), None);
        for broken in ["", "Job message:", "Job message: {\"jobServiceContainers\": ***}", "no"] {
            assert_eq!(keys(broken, &[service("redis")]), None, "{broken}");
        }
    }

    #[test]
    fn the_newest_log_beside_the_work_directory_is_read() {
        let root = tempfile::tempdir().unwrap();
        let diag = root.path().join("_diag");
        fs::create_dir(&diag).unwrap();
        let of = |key: &str| {
            log(&mapping(&[pair(&json!(key), &mapping(&[pair(&json!("image"), &json!("a"))]))]))
        };
        fs::write(diag.join("Worker_20260101-000000-utc.log"), of("old")).unwrap();
        fs::write(diag.join("Worker_20260102-000000-utc.log"), of("new")).unwrap();
        fs::write(diag.join("Runner_20260103-000000-utc.log"), of("other")).unwrap();
        let temp = root.path().join("_work/_temp");
        let temp = temp.to_str().unwrap();
        let settings = Settings::from_env(|name| (name == "RUNNER_TEMP").then(|| temp.to_owned()));
        assert_eq!(of_services(&settings), ["new"]);
        fs::remove_dir_all(diag).unwrap();
        assert_eq!(of_services(&settings), Vec::<String>::new());
    }

    fn of_services(settings: &Settings) -> Vec<String> {
        of(settings, &[service("a")])
    }
}

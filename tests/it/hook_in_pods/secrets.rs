//! A job that carries twelve secrets by different ways, and a search for them in all that leaves it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site};
use crate::logs::backend::Backend;
use crate::support::agent::{Agent, TEXT};
use crate::support::collector::Wire;
use crate::support::process::until;
use crate::support::workflow_images::{BUSYBOX, TOOL};

/// What each way is called, in the order of the values.
const WAYS: [&str; 12] = [
    "job env",
    "connection string",
    "option",
    "step env",
    "add-mask",
    "add-mask, second line",
    "token by its form",
    "service env",
    "service env by a Secret",
    "action env",
    "action env by a Secret",
    "private key",
];

/// The values, none of which looks like another.
struct Secrets(Vec<String>);

/// An agent and what came to its collector.
struct Export {
    agent: Agent,
    collector: Backend,
    state: std::path::PathBuf,
}

// === impl Secrets ===

impl Secrets {
    fn new() -> Self {
        let random = || format!("{:016x}{:04x}", fastrand::u64(..), fastrand::u16(..));
        let mut all: Vec<String> = WAYS.iter().map(|_| random()).collect();
        all[6] = format!("ghp_{}{:016x}", random(), fastrand::u64(..));
        Self(all)
    }

    /// The ways whose values, or these in base64, are in a text.
    fn found(&self, text: &str) -> Vec<&'static str> {
        let has = |value: &String| {
            text.contains(value.as_str())
                || text.contains(STANDARD.encode(value).trim_end_matches('='))
        };
        WAYS.iter().zip(&self.0).filter(|(_, value)| has(value)).map(|(way, _)| *way).collect()
    }
}

// === impl Export ===

impl Export {
    fn start(site: &Site, name: &str, flags: &[&str]) -> Self {
        let collector = Backend::start_on(site.node.gateway(), Wire::Http);
        let state = site.node.folder().join(name);
        let path = state.to_str().unwrap().to_owned();
        let all = [&["--otlp-metrics", "--state-dir", &path], flags].concat();
        let agent = site.agent_to(&collector.endpoint(), &all);
        Self { agent, collector, state }
    }

    /// Waits for the job's last lines, its trace and its metrics.
    fn until_whole(&self, site: &Site) {
        let all = || {
            let lines = self.collector.lines();
            let has = |text: &str| lines.iter().any(|line| line.body.contains(text));
            let ways = (0..WAYS.len()).all(|way| has(&format!("way {way} is here")));
            let spans = self.collector.spans_of(site.namespace());
            let job =
                spans.values().any(|span| span.parent_span_id.is_empty() || span.name == "cleanup");
            (ways
                && has("the end")
                && job
                && self.collector.metrics_of(site.namespace(), "container.cpu.time") > 0)
                .then_some(())
        };
        until(PATIENCE, all).unwrap_or_else(|| {
            let bodies: Vec<String> =
                self.collector.lines().into_iter().map(|line| line.body).collect();
            panic!("{bodies:#?}\n{:?}\n{}", self.collector.spans(), self.agent.log())
        });
    }

    /// Everything that it gave away or keeps, by place.
    fn places(&self) -> BTreeMap<&'static str, String> {
        [
            ("OTLP", self.collector.everything()),
            ("/metrics", self.agent.get("/metrics", TEXT).body),
            ("the agent's log", self.agent.log()),
            ("the agent's state", contents(&self.state)),
        ]
        .into()
    }
}

/// The text of all files below a directory.
fn contents(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all += &contents(&path);
        } else {
            all += &String::from_utf8_lossy(&fs::read(path).unwrap_or_default());
        }
    }
    all
}

#[test]
fn none_of_twelve_secrets_leaves_the_job_and_without_masks_they_do() {
    let Some(site) = Site::start() else { return };
    let (masked, raw) =
        (Export::start(&site, "masked", &[]), Export::start(&site, "raw", &["--logs", "raw"]));
    let secrets = Secrets::new();
    let runner = site.runner("runner-1");
    let Told { by_hook: said, to_runner } = play(&runner, &secrets);
    let pod = site.pod("runner-1").to_string();
    let events = site.kubectl().run(&["get", "events", "-n", site.namespace(), "-o", "json"]);
    masked.until_whole(&site);
    raw.until_whole(&site);

    let mut places = masked.places();
    let volume = runner.directory.volume("ephemon");
    places.extend([
        ("the pod", pod),
        ("events", events),
        ("the hook's words", said),
        ("journals", contents(&volume.join("journal"))),
        ("command lines", command_lines()),
    ]);
    for (place, text) in &places {
        assert_eq!(secrets.found(text), Vec::<&str>::new(), "in {place}");
        assert!(!text.is_empty(), "{place} was not looked at");
    }
    // Whose values to mask are in files, they are for nobody else.
    for file in fs::read_dir(volume.join("masks")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{mode:o}");
    }
    assert_eq!(site.secrets(), Vec::<String>::new());
    // The search finds each of them where nothing is masked: what the runner gets, which masks it
    // itself, and logs of containers without our init.
    assert_eq!(secrets.found(&(to_runner + &raw.collector.everything())), WAYS);
}

/// The command line of every process of this machine.
fn command_lines() -> String {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

/// What the calls of a job printed.
struct Told {
    /// The hook's own words, logs of services among them.
    by_hook: String,
    /// The output of steps.
    to_runner: String,
}

/// Plays the job.
fn play(runner: &Runner, secrets: &Secrets) -> Told {
    let s = &secrets.0;
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", s[11]);
    let mut asked = job(BUSYBOX, &format!("-e API_KEY={}", s[2]));
    asked["environmentVariables"]["DB_PASSWORD"] = json!(s[0]);
    asked["environmentVariables"]["DATABASE_URL"] =
        json!(format!("postgres://app:{}@db/app", s[1]));
    asked["environmentVariables"]["DEPLOY_PRIVATE_KEY"] = json!(key);
    let by_init = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "createOptions": "--name one", "portMappings": ["80"],
            "entryPointArgs": ["-c", "\"echo $REDIS_PASSWORD way 7 is here | tee /srv/p; exec httpd -f -p 80 -h /srv\""],
            "environmentVariables": {"REDIS_PASSWORD": s[7]},
        }),
    );
    let own = |name: &str, value: &str, way: usize| {
        let env = json!({name: value, "TOOL": format!("{value} way {way} is here")});
        container(TOOL, &json!({"environmentVariables": env, "entryPointArgs": ["0"]}))
    };
    let prepared = runner.prepare_called(&asked, &[by_init]);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();

    let to_runner = RefCell::new(String::new());
    let script = |text: &str, env: &[(&str, &str)]| {
        let mut args = runner.script_args(text);
        for (name, value) in env {
            args["environmentVariables"][*name] = json!(value);
        }
        let step = runner.call("run_script_step", &args, &state);
        assert_eq!(step.code, 0, "{step:?}");
        to_runner.borrow_mut().push_str(&step.stdout);
    };
    script(
        "echo $DB_PASSWORD way 0 is here; echo $DATABASE_URL way 1 is here; \
         echo $API_KEY way 2 is here; echo $INPUT_TOKEN way 3 is here; \
         echo \"$DEPLOY_PRIVATE_KEY\"; echo way 11 is here; wget -qO- http://one/p",
        &[("INPUT_TOKEN", &s[3])],
    );
    script(&format!("echo '::add-mask::{}'; echo '::add-mask::first%0A{}'", s[4], s[5]), &[]);
    let action = |container: &Value| {
        let step = runner.call("run_container_step", container, &state);
        assert_eq!(step.code, 0, "{step:?}");
        to_runner.borrow_mut().push_str(&step.stdout);
    };
    // Told in one container, shown in another, and in base64.
    let show = format!(
        "\"echo {} way 4 is here; echo {} way 5 is here; printf {} | base64\"",
        s[4], s[5], s[4]
    );
    action(&container(BUSYBOX, &json!({"entryPoint": "sh", "entryPointArgs": ["-c", show]})));
    script(&format!("echo {} way 6 is here", s[6]), &[]);
    action(&container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "environmentVariables": {"INPUT_API-TOKEN": s[9], "API_TOKEN": s[9]},
            "entryPointArgs": ["-c", "\"echo $API_TOKEN way 9 is here\""],
        }),
    ));
    action(&own("NPM_TOKEN", &s[10], 10));
    action(&own("MYSQL_ROOT_PASSWORD", &s[8], 8));
    script("echo the end", &[]);
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    Told { by_hook: prepared.stdout.clone() + &cleaned.stdout, to_runner: to_runner.into_inner() }
}

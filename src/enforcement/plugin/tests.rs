//! What containers get when the runtime creates them.

use std::time::SystemTime;

use ephemon_discovery::inventory::{Evidence, SpecEntry};
use ephemon_model::{ContainerId, ContainerType};

use super::*;

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(20);

fn uid(n: u8) -> PodUid {
    PodUid::parse(&format!("0e269fa4-f505-4963-9096-9580630772{n:02x}")).unwrap()
}

fn entry(name: &str, container_type: ContainerType, limits: Option<&str>) -> SpecEntry {
    SpecEntry {
        name: name.into(),
        container_type,
        image: None,
        limits: limits.map(str::parse),
        wants_init: name == "own",
        job: None,
    }
}

/// The plugin of a node whose API server has told of one pod, in which its runner runs.
fn plugin() -> Plugin {
    let self_metrics = SelfMetrics::new().unwrap();
    let inventory = Inventory::with_api(self_metrics.clone());
    let runner = ContainerId::parse(&"a".repeat(64)).unwrap();
    inventory.api_live();
    inventory.listed(&uid(1));
    inventory.created(&uid(1), &runner, SystemTime::now());
    inventory.stands_at(&runner, Path::new("kubepods/pod/runner"));
    let entries = vec![
        entry("runner", ContainerType::Container, None),
        entry("job", ContainerType::Ephemeral, Some("pids=50")),
        entry("own", ContainerType::Ephemeral, None),
        entry("tiny", ContainerType::Ephemeral, Some("memory=1Mi")),
    ];
    inventory.learn(Evidence::Spec { pod: uid(1), entries });
    Plugin::new(NodeRoot::new("/"), inventory, self_metrics)
}

const BOTH: Seems = Seems { limits: true, init: true };

fn limits(text: &str) -> Wanted {
    let limits = Some((text.parse().unwrap(), Path::new("kubepods/pod/runner").into()));
    Wanted { limits, init: false }
}

/// The counts of both families, with the names of their results.
fn counts(plugin: &Plugin) -> Vec<String> {
    let of_init = InFront::ALL.map(|result| ("inits", result.as_str()));
    let all = AtCreation::ALL.map(|result| ("limits", result.as_str()));
    let counted = all.into_iter().chain(of_init);
    counted.filter_map(|(what, result)| count(plugin, what, result)).collect()
}

fn count(plugin: &Plugin, what: &str, result: &str) -> Option<String> {
    let families = plugin.self_metrics.registry().gather();
    let name = format!("ephemon_agent_{what}_at_creation_total");
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let is_it = |label: &str| label == result;
    let mut metrics = family.get_metric().iter();
    let metric = metrics.find(|it| it.get_label().iter().any(|label| is_it(label.value())));
    let count = metric.unwrap().get_counter().get_value();
    (count > 0.0).then(|| format!("{what} {result} {count}"))
}

#[tokio::test]
async fn only_an_ephemeral_container_that_asks_for_something_has_it() {
    let plugin = plugin();
    let asked = async |name: &str| plugin.asked(&uid(1), name, BOTH, LONG).await;
    assert_eq!(asked("job").await, Some(limits("pids=50")));
    assert_eq!(asked("own").await, Some(Wanted { limits: None, init: true }));
    assert_eq!(asked("runner").await, None);
    assert_eq!(counts(&plugin), [""; 0]);
    assert_eq!(asked("tiny").await, Some(Wanted { limits: None, init: false }));
    assert_eq!(counts(&plugin), ["limits invalid 1"]);
}

#[tokio::test]
async fn a_container_that_is_told_of_a_little_later_is_waited_for() {
    let plugin = plugin();
    let entries = vec![entry("later", ContainerType::Ephemeral, Some("pids=60"))];
    let tell = async {
        sleep(SHORT).await;
        plugin.inventory.learn(Evidence::Spec { pod: uid(1), entries });
    };
    let pod = uid(1);
    let (asked, ()) = tokio::join!(plugin.asked(&pod, "later", BOTH, LONG), tell);
    assert_eq!(asked, Some(limits("pids=60")));
}

#[tokio::test]
async fn a_pod_that_nobody_knows_is_waited_for_once() {
    let plugin = plugin();
    assert_eq!(plugin.asked(&uid(2), "job", BOTH, SHORT).await, None);
    let init = Seems { limits: false, ..BOTH };
    assert_eq!(plugin.asked(&uid(2), "job", init, LONG).await, None);
    assert_eq!(counts(&plugin), ["limits unknown 1", "inits unknown 2"]);
    // Known meanwhile, it is waited for again.
    let entries = vec![entry("job", ContainerType::Ephemeral, Some("pids=60"))];
    let runner = ContainerId::parse(&"b".repeat(64)).unwrap();
    plugin.inventory.listed(&uid(2));
    plugin.inventory.created(&uid(2), &runner, SystemTime::now());
    plugin.inventory.stands_at(&runner, Path::new("kubepods/pod2/runner"));
    plugin.inventory.learn(Evidence::Spec { pod: uid(2), entries });
    assert!(plugin.asked(&uid(2), "job", BOTH, SHORT).await.is_some());
    assert!(!plugin.is_stranger(&uid(2)));
    for n in 0..u8::MAX {
        plugin.remember(&uid(n));
    }
    assert_eq!(lock(&plugin.strangers).len(), MAX_STRANGERS);
}

/// A field of a message on the wire: its bytes, after tag and length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut rest = content.len();
    let mut length = Vec::new();
    while rest > 0x7f {
        length.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    length.push(u8::try_from(rest).unwrap());
    [&[number << 3 | 2][..], &length, content].concat()
}

/// The container of that name in the known pod, as the runtime asks for it (NRI, `pkg/api/api.proto`).
fn creation(name: &str, env: &[&str], args: &[&str], mounts: &[(&str, &str)]) -> Creation {
    let words = |number, words: &[&str]| -> Vec<u8> {
        words.iter().flat_map(|word| field(number, word.as_bytes())).collect()
    };
    let mounts = mounts.iter().flat_map(|(path, option)| {
        field(9, &[field(1, path.as_bytes()), field(4, option.as_bytes())].concat())
    });
    let container =
        [words(3, &[name]), words(7, args), words(8, env), mounts.collect::<Vec<u8>>()].concat();
    let pod = words(3, &[&uid(1).to_string()]);
    Creation::read([field(1, &pod), field(2, &container)].concat().into()).unwrap()
}

const ASKS: [&str; 1] = ["EPHEMON_INIT=[]"];
const MOUNTED: (&str, &str) = ("/ephemon/bin", "ro");

#[tokio::test]
async fn init_is_put_in_front_only_where_it_is_mounted_read_only() {
    let front = ["/ephemon/bin/ephemon-init", "--in-front", "--", "/entry.sh", "3"];
    let long = "x".repeat(40 << 10);
    for (mounts, own, applies) in [
        (&[MOUNTED][..], ["/entry.sh", "3"], true),
        (&[], ["/entry.sh", "3"], false),
        (&[("/ephemon/bin", "rw")], ["/entry.sh", "3"], false),
        (&[("/ephemon", "ro")], ["/entry.sh", "3"], false),
        (&[MOUNTED, ("/ephemon/bin", "rw")], ["/entry.sh", "3"], false),
        (&[MOUNTED], ["/entry.sh", &long], false),
    ] {
        let plugin = plugin();
        let changed = plugin.decide(creation("own", &ASKS, &own, mounts), LONG).await;
        let (args, count): (&[&str], _) =
            if applies { (&front, "inits applied 1") } else { (&[], "inits left 1") };
        assert_eq!(
            changed,
            Adjustment {
                args: args.iter().map(|&it| it.to_owned()).collect(),
                ..Adjustment::default()
            }
        );
        assert_eq!(counts(&plugin), [count], "{mounts:?}");
    }
    // It does not ask by its spec, whatever its image says.
    let plugin = plugin();
    let changed = plugin.decide(creation("runner", &ASKS, &["/entry.sh"], &[MOUNTED]), LONG).await;
    assert_eq!((changed, counts(&plugin)), (Adjustment::default(), Vec::new()));
}

#[tokio::test]
async fn init_does_not_wait_for_what_only_limits_need() {
    let plugin = plugin();
    let mut asks = entry("both", ContainerType::Ephemeral, Some("pids=60"));
    asks.wants_init = true;
    plugin.inventory.listed(&uid(3));
    plugin.inventory.learn(Evidence::Spec { pod: uid(3), entries: vec![asks] });
    let asked = plugin.asked(&uid(3), "both", BOTH, SHORT).await;
    assert_eq!(asked, Some(Wanted { limits: None, init: true }));
    assert_eq!(counts(&plugin), ["limits unknown 1"]);
}

#[test]
fn what_is_late_is_counted_as_what_was_asked_for() {
    let plugin = plugin();
    plugin.late(&creation("own", &ASKS, &["/entry.sh"], &[MOUNTED]));
    assert_eq!(counts(&plugin), ["inits late 1"]);
    plugin.late(&creation("job", &["EPHEMON_LIMITS=pids=50"], &["/entry.sh"], &[]));
    assert_eq!(counts(&plugin), ["limits late 1", "inits late 1"]);
}

#[tokio::test]
async fn without_an_api_server_nothing_is_waited_for_or_changed() {
    let self_metrics = SelfMetrics::new().unwrap();
    let inventory = Inventory::without_api(self_metrics.clone());
    let plugin = Plugin::new(NodeRoot::new("/"), inventory, self_metrics);
    let asks = creation("own", &ASKS, &["/entry.sh"], &[MOUNTED]);
    let decided = tokio::time::timeout(LONG / 2, plugin.decide(asks, LONG)).await;
    assert_eq!(decided.unwrap(), Adjustment::default());
    assert_eq!(counts(&plugin), [""; 0]);
}

#[test]
fn what_the_runtime_tells_is_in_the_inventory() {
    let plugin = plugin();
    let known = uid(1);
    let id = |digit: &str| digit.repeat(64);
    let life = |pod: &PodUid, digit: &str| Life {
        pod: Arc::new(ephemon_nri::Pod { uid: pod.to_string(), ..ephemon_nri::Pod::default() }),
        id: id(digit),
        container: "job".into(),
        started_ns: None,
        end: None,
    };
    plugin.told(Event::Started, life(&known, "b"));
    let containers = vec![life(&known, "c")];
    plugin.listed(List { containers, ..List::default() });
    for digit in ["b", "c"] {
        let id = ContainerId::parse(&id(digit)).unwrap();
        assert_eq!(&*plugin.inventory.container(&known, &id).unwrap().name, "job");
    }
}

//! What the variables mean, and which errors are reported for values that are not valid.

use proptest::prelude::*;

use super::*;

fn config(variables: &[(&str, &str)]) -> Config {
    let (config, ignored) = lenient(variables);
    assert_eq!(ignored, [], "{variables:?}");
    config
}

/// Also returns what is ignored.
fn lenient(variables: &[(&str, &str)]) -> (Config, Vec<Ignored>) {
    Config::from_env(|name| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn logs(variables: &[(&str, &str)]) -> Box<Target> {
    match config(variables).logs {
        Exporter::Otlp(target) => target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_endpoint_every_signal_is_off() {
    let off = Config { logs: Exporter::Off, traces: Exporter::Off, metrics: Exporter::Off };
    assert_eq!(config(&[]), off);
    assert_eq!(config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "  ")]), off);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert_eq!(config(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), off);
    let mixed = config(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]);
    assert_eq!((&mixed.traces, matches!(mixed.logs, Exporter::Otlp(_))), (&Exporter::Off, true));
    let console = config(&[endpoint, ("OTEL_LOGS_EXPORTER", "console")]);
    assert_eq!(console.of(Signal::Logs), &Exporter::Console);
}

#[test]
fn a_general_http_endpoint_gets_the_signals_path_and_an_own_one_does_not() {
    let general = |endpoint| logs(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
    for (said, meant) in [
        ("http://c:4318", "http://c:4318/v1/logs"),
        ("http://c:4318/", "http://c:4318/v1/logs"),
        ("https://c/otlp/", "https://c/otlp/v1/logs"),
        ("https://c/otlp?key=1", "https://c/otlp/v1/logs?key=1"),
    ] {
        assert_eq!(general(said).endpoint.to_string(), meant);
        assert_eq!(general(said).protocol, Protocol::HttpProtobuf);
    }
    for (said, meant) in [("http://c:4318", "http://c:4318/"), ("http://c/a/b", "http://c/a/b")] {
        let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", said);
        let target = logs(&[own, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other")]);
        assert_eq!(target.endpoint.to_string(), meant);
    }
    let asked = logs(&[("OTEL_LOGS_EXPORTER", "otlp")]);
    assert_eq!(asked.endpoint.to_string(), "http://localhost:4318/v1/logs");
}

#[test]
fn over_grpc_the_scheme_says_whether_tls_is_spoken() {
    let grpc = |endpoint, insecure| {
        logs(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_INSECURE", insecure),
        ])
        .endpoint
        .to_string()
    };
    assert_eq!(grpc("http://c:4317", "false"), "http://c:4317/");
    assert_eq!(grpc("https://c:4317", "true"), "https://c:4317/");
    assert_eq!(grpc("c:4317", "true"), "http://c:4317/");
    assert_eq!(grpc("c:4317", ""), "https://c:4317/");
    assert_eq!(grpc("http://c:4317/path", ""), "http://c:4317/");
}

#[test]
fn the_variable_of_a_signal_goes_before_the_general_one() {
    let target = logs(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/ca-logs"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key-general"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/key"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "Authorization=Bearer%20x%2Cy, b = 2 "),
    ]);
    assert_eq!((target.timeout, target.gzip), (Duration::from_millis(250), true));
    assert_eq!(target.tls.certificate, Some("/ca-logs".into()));
    assert_eq!(target.tls.client, Some(("/crt".into(), "/key".into())));
    let headers: Vec<_> = target
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    let meant = [("authorization", "Bearer x,y"), ("b", "2")];
    assert_eq!(headers, meant.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn what_makes_no_sense_is_ignored_and_named_with_what_is_allowed() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
    let usual = logs(&[general]);
    for (name, value, said) in [
        ("PROTOCOL", "http/json", "must be `grpc` or `http/protobuf`"),
        ("TIMEOUT", "10s", "integer number of milliseconds"),
        ("TIMEOUT", "0", "above 0"),
        ("COMPRESSION", "zstd", "`gzip` or `none`"),
        ("INSECURE", "1", "`true` or `false`"),
        ("CLIENT_KEY", "/key", "CLIENT_CERTIFICATE is not"),
        ("HEADERS", "hunter2", "entry 1 is ignored, because it has no `=`"),
        ("HEADERS", "a=hunter2%0Ab", "not valid in a header"),
        ("HEADERS", "a b=hunter2", "entry 1"),
        ("HEADERS", "content-type=hunter2", "reserved key"),
    ] {
        for signal in ["", "LOGS_"] {
            let name = format!("OTEL_EXPORTER_OTLP_{signal}{name}");
            let (config, ignored) = lenient(&[(name.as_str(), value), general]);
            assert_eq!(config.logs, Exporter::Otlp(usual.clone()), "{name}={value}");
            let [ignored] = &ignored[..] else { panic!("{name}: {ignored:?}") };
            let ignored = ignored.to_string();
            assert!(ignored.contains(&name) && ignored.contains(said), "{ignored}");
            assert!(!ignored.contains("hunter2"), "{ignored}");
        }
    }
}

#[test]
fn an_endpoint_that_makes_no_sense_leaves_the_general_one_or_none() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
    for wrong in ["collector:4318", "http://user:hunter2@c", "unix:///run/otel"] {
        let (config, ignored) = lenient(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", wrong), general]);
        assert_eq!(config.logs, Exporter::Otlp(logs(&[general])));
        let [ignored] = &ignored[..] else { panic!("{ignored:?}") };
        let ignored = ignored.to_string();
        assert!(ignored.contains("http://collector:4318") && !ignored.contains("hunter2"));
        let (config, ignored) = lenient(&[(general.0, wrong)]);
        assert_eq!((config.logs, ignored.len()), (Exporter::Off, 1), "of all signals one warning");
    }
}

#[test]
fn a_signals_variable_that_makes_no_sense_leaves_the_general_one() {
    let general = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x"),
    ];
    let own = [
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization Bearer y"),
    ];
    let (config, ignored) = lenient(&[general.as_slice(), &own].concat());
    assert_eq!((config.logs, ignored.len()), (logs(&general).into(), own.len()));
    let endless = ("OTEL_EXPORTER_OTLP_TIMEOUT", "9223372036854775807");
    assert_eq!(logs(&[general[0], endless]).timeout, LONGEST_TIMEOUT);
}

#[test]
fn the_rest_of_a_list_of_headers_is_sent() {
    let (config, ignored) = lenient(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,authorization Bearer x,b=2"),
    ]);
    let Exporter::Otlp(target) = config.logs else { panic!() };
    let names: Vec<_> = target.headers.iter().map(|(name, _)| name.as_str().to_owned()).collect();
    assert_eq!((names, ignored.len()), (vec!["a".to_owned(), "b".to_owned()], 1));
}

#[test]
fn words_are_read_in_any_case_and_exporters_as_a_list() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
    let words =
        [("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP")];
    let target = logs(&[general, words[0], words[1]]);
    assert_eq!((target.protocol, target.gzip), (Protocol::Grpc, true));
    for (said, meant) in [
        ("OTLP", logs(&[general]).into()),
        ("otlp, otlp", logs(&[general]).into()),
        ("Console", Exporter::Console),
        ("NONE", Exporter::Off),
    ] {
        assert_eq!(config(&[general, ("OTEL_LOGS_EXPORTER", said)]).logs, meant, "{said}");
    }
    let served = config(&[general, ("OTEL_METRICS_EXPORTER", "prometheus")]);
    assert_eq!(served.metrics, Exporter::Off);
    let (mistaken, ignored) = lenient(&[general, ("OTEL_LOGS_EXPORTER", "prometheus")]);
    assert_eq!((mistaken.logs, ignored.len()), (logs(&[general]).into(), 1));
    for (several, used, meant) in [
        ("otlp, console", "otlp", logs(&[general]).into()),
        ("none,console", "console", Exporter::Console),
    ] {
        let (config, ignored) = lenient(&[general, ("OTEL_LOGS_EXPORTER", several)]);
        let variable = "OTEL_LOGS_EXPORTER".to_owned();
        assert_eq!((config.logs, ignored), (meant, vec![Ignored::Several { variable, used }]));
    }
    // An unknown exporter counts as unset.
    let (zipkin, ignored) = lenient(&[general, ("OTEL_LOGS_EXPORTER", "zipkin")]);
    assert_eq!((zipkin.logs, ignored.len()), (logs(&[general]).into(), 1));
    let (disabled, ignored) = lenient(&[general, ("OTEL_SDK_DISABLED", "0")]);
    assert_eq!((disabled.logs, ignored.len()), (logs(&[general]).into(), 1));
}

impl From<Box<Target>> for Exporter {
    fn from(target: Box<Target>) -> Self {
        Self::Otlp(target)
    }
}

#[test]
fn values_of_headers_and_keys_in_the_query_are_never_shown() {
    let target = logs(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c?api_key=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2hunter2"),
    ]);
    let shown = format!("{target:?} {}", target.shown());
    assert!(shown.contains("x-key") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn resource_attributes_are_decoded_and_the_service_name_goes_before() {
    let get = |attributes: &'static str, name: &'static str| {
        resource_from_env(move |variable| match variable {
            "OTEL_RESOURCE_ATTRIBUTES" => Some(attributes.to_owned()),
            "OTEL_SERVICE_NAME" => Some(name.to_owned()),
            _ => None,
        })
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (both, ignored) = get("service.name=a, team=c%2Ci=x,", "b");
    assert_eq!(
        (&both[..], &ignored[..]),
        (&[pair("team", "c,i=x"), pair("service.name", "b")][..], &[][..])
    );
    assert_eq!(get("service.name=a", "").0, [pair("service.name", "a")]);
    let (attributes, ignored) = get("a=1,b", "c");
    assert_eq!(attributes, [pair("service.name", "c")]);
    let said = ignored[0].to_string();
    assert!(said.contains("is ignored, because") && said.contains("entry 2"), "{said}");
    for wrong in ["a=%ff", "a=100%", "a=%zz,b=1"] {
        assert_eq!((get(wrong, "").0.len(), get(wrong, "").1.len()), (0, 1), "{wrong}");
    }
    assert_eq!(get("a=1,b=2,a=3", "").0, [pair("b", "2"), pair("a", "3")]);
}

#[test]
fn the_proxy_is_that_of_the_endpoints_scheme_and_no_proxy_comes_first() {
    let [http, https, all] = ["http://p1:1", "http://p2:2", "http://p3:3"];
    let proxies = [("HTTP_PROXY", http), ("HTTPS_PROXY", https), ("ALL_PROXY", all)];
    let shown = |endpoint: &str, more: &[(&str, &str)]| {
        let target = logs(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], more].concat());
        target.proxy.as_ref().map(Proxy::shown)
    };
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(shown("http://c", &proxies).as_deref(), Some(http));
    assert_eq!(shown("https://c", &proxies).as_deref(), Some(https));
    assert_eq!(shown("http://c", &[&proxies[..], &[grpc]].concat()).as_deref(), Some(https));
    assert_eq!(shown("http://c", &[proxies[0], grpc]).as_deref(), Some(http));
    assert_eq!(shown("http://c", &proxies[1..]).as_deref(), Some(all));
    assert_eq!(shown("https://c", &[proxies[0]]), None);
    assert_eq!(shown("http://localhost", &proxies), None);
    assert_eq!(
        shown("http://c", &[("http_proxy", all), ("HTTP_PROXY", http)]).as_deref(),
        Some(http)
    );
    assert_eq!(
        shown("http://c", &[("http_proxy", all), ("HTTP_PROXY", " ")]).as_deref(),
        Some(all)
    );
    assert_eq!(shown("http://a.c", &[proxies[0], ("no_proxy", "c")]), None);
    assert_eq!(
        logs(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), proxies[0]]).shown(),
        "http://c/v1/logs through http://p1:1"
    );
}

#[test]
fn a_proxy_that_makes_no_sense_is_ignored_and_its_password_is_not_shown() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
    for wrong in ["socks5://u:hunter2@p:1", "http://u:hunter2@p@q:1", "http://p:hunter2"] {
        let all = ("ALL_PROXY", "http://u:hunter2@p");
        let (config, ignored) = lenient(&[endpoint, ("HTTP_PROXY", wrong), all]);
        let Exporter::Otlp(target) = &config.logs else { panic!("{config:?}") };
        assert_eq!(target.proxy.as_ref().map(Proxy::shown).as_deref(), Some("http://p"));
        let [ignored] = &ignored[..] else { panic!("{ignored:?}") };
        let said = format!("{ignored} {target:?} {}", target.shown());
        assert!(said.contains("HTTP_PROXY is ignored") && !said.contains("hunter2"), "{said}");
    }
}

proptest! {
    #[test]
    fn no_value_breaks_the_parsers(
        values in proptest::collection::vec("(https?://)?[ -~é]{0,24}", 9),
    ) {
        let names =
            ["ENDPOINT", "HEADERS", "TIMEOUT", "COMPRESSION", "PROTOCOL", "INSECURE",
             "CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"];
        let lookup = |name: &str| {
            let index = names.iter().position(|end| name == format!("OTEL_EXPORTER_OTLP_{end}"));
            index.map(|index| values[index].clone())
        };
        drop(Config::from_env(lookup));
        drop(resource_from_env(|_| Some(values[0].clone())));
        let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
        drop(Config::from_env(|name| {
            Some(if name == endpoint { "http://c".into() } else { values[1].clone() })
        }));
    }
}

#[test]
fn metrics_have_an_interval_and_words_of_their_own() {
    let said = |name: &'static str, value: &'static str| {
        move |asked: &str| (asked == name).then(|| value.to_owned())
    };
    let interval = |value| metric_interval(said("OTEL_METRIC_EXPORT_INTERVAL", value));
    assert_eq!(interval(""), (Duration::from_mins(1), vec![]));
    assert_eq!(interval("250"), (Duration::from_millis(250), vec![]));
    for wrong in ["0", "99", "-1", "1s", "1.5"] {
        let (usual, ignored) = interval(wrong);
        assert_eq!((usual, ignored.len()), (Duration::from_mins(1), 1), "{wrong}");
        assert!(ignored[0].to_string().starts_with("OTEL_METRIC_EXPORT_INTERVAL is ignored"));
    }
    let off = |name, value| is_turned_off(Signal::Metrics, said(name, value));
    assert!(off("OTEL_METRICS_EXPORTER", "none") && off("OTEL_SDK_DISABLED", "true"));
    assert!(off("OTEL_METRICS_EXPORTER", "Prometheus"));
    assert!(!off("OTEL_METRICS_EXPORTER", "otlp,none") && !off("OTEL_LOGS_EXPORTER", "none"));
    let preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (word, wanted) in [
        ("delta", Temporality::Delta),
        ("LowMemory", Temporality::LowMemory),
        ("Cumulative", Temporality::Cumulative),
        ("", Temporality::Cumulative),
    ] {
        let (temporality, ignored) = temporality(said(preference, word));
        assert_eq!((temporality, ignored.len()), (wanted, 0), "{word}");
    }
    let (cumulative, ignored) = temporality(said(preference, "both"));
    assert_eq!(cumulative, Temporality::Cumulative);
    assert!(ignored[0].to_string().contains(preference), "{ignored:?}");
}

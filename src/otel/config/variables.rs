//! Reads the variables, and collects what is wrong with them.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::{
    Exporter, Headers, Ignored, LONGEST_TIMEOUT, Protocol, TIMEOUT, Target, Tls, endpoint,
};
use crate::Signal;
use crate::proxy::{Proxy, is_proxied};

/// The variables, and what was wrong with those that were read.
pub(super) struct Variables<F> {
    lookup: F,
    ignored: RefCell<Vec<Ignored>>,
}

/// A variable that is set.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether it is specific to a signal.
    pub(super) own: bool,
}

// === impl Variables ===

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub(super) fn new(lookup: F) -> Self {
        Self { lookup, ignored: RefCell::default() }
    }

    /// The errors so far, each once.
    pub(super) fn ignored(self) -> Vec<Ignored> {
        let mut ignored = self.ignored.into_inner();
        let mut seen = Vec::new();
        ignored.retain(|one| {
            let is_new = !seen.contains(one);
            seen.push(one.clone());
            is_new
        });
        ignored
    }

    /// The value of a variable, unless it is not valid.
    pub(super) fn taken<T>(&self, said: Result<T, Ignored>) -> Option<T> {
        said.map_err(|ignored| self.ignored.borrow_mut().push(ignored)).ok()
    }

    pub(super) fn exporter(&self, signal: Signal) -> Exporter {
        if self.is_true("OTEL_SDK_DISABLED") {
            return Exporter::Off;
        }
        let chosen = self.get(&format!("OTEL_{}_EXPORTER", signal.in_variables()));
        let mut asked = false;
        if let Some(chosen) = chosen {
            let words = chosen.words();
            let has = |word: &str| words.iter().any(|one| one == word);
            // The agent always serves Prometheus on its own port, so this value needs nothing here.
            let is_served = signal == Signal::Metrics && has("prometheus");
            let known = |word: &String| match &**word {
                "otlp" | "console" | "none" => true,
                word => word == "prometheus" && is_served,
            };
            if !words.iter().all(known) {
                self.taken::<()>(Err(chosen.not("`otlp`, `console` or `none`")));
            }
            let mut named = ["otlp", "console", "none"].into_iter().filter(|word| has(word));
            if let (Some(used), Some(_)) = (named.next(), named.next()) {
                let variable = chosen.name.clone();
                self.taken::<()>(Err(Ignored::Several { variable, used }));
            }
            match () {
                () if has("otlp") => asked = true,
                () if has("console") => return Exporter::Console,
                () if has("none") || is_served => return Exporter::Off,
                () => {}
            }
        }
        let protocol = self.protocol(signal);
        let endpoint = match self.endpoint(signal, protocol) {
            Some(endpoint) => endpoint,
            None if asked => endpoint::local(protocol, signal),
            None => return Exporter::Off,
        };
        Exporter::Otlp(Box::new(Target {
            protocol,
            proxy: self.proxy(protocol, &endpoint),
            endpoint,
            headers: self.headers(signal),
            timeout: self.timeout(signal),
            gzip: self.gzip(signal),
            tls: self.tls(signal),
        }))
    }

    /// The value of the signal's own variable, or, if that is not valid, of the general one.
    fn said<T>(
        &self,
        signal: Signal,
        what: &str,
        read: impl Fn(&Variable) -> Result<T, Ignored>,
    ) -> Option<T> {
        let both = [self.own(signal, what), self.general(what)];
        both.into_iter().flatten().find_map(|said| self.taken(read(&said)))
    }

    fn endpoint(&self, signal: Signal, protocol: Protocol) -> Option<Uri> {
        let insecure = self.said(signal, "INSECURE", Variable::boolean).unwrap_or(false);
        self.said(signal, "ENDPOINT", |said| match protocol {
            Protocol::Grpc => endpoint::of_grpc(said, insecure),
            Protocol::HttpProtobuf => endpoint::of_http(said, signal),
        })
    }

    fn protocol(&self, signal: Signal) -> Protocol {
        let said =
            self.said(signal, "PROTOCOL", |said| match said.value.to_ascii_lowercase().as_str() {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::HttpProtobuf),
                _ => Err(said.not("`grpc` or `http/protobuf`")),
            });
        said.unwrap_or(Protocol::HttpProtobuf)
    }

    /// The valid headers of the signal's own list, or, if there are none, of the general one.
    fn headers(&self, signal: Signal) -> Headers {
        let both = [self.own(signal, "HEADERS"), self.general("HEADERS")];
        let usable = both.into_iter().flatten().find_map(|said| {
            let (headers, wrong) = Headers::parse(&said);
            self.ignored.borrow_mut().extend(wrong);
            (headers != Headers::default()).then_some(headers)
        });
        usable.unwrap_or_default()
    }

    fn timeout(&self, signal: Signal) -> Duration {
        let said = self.said(signal, "TIMEOUT", |said| match said.value.parse() {
            Ok(0) | Err(_) => Err(said.not("an integer number of milliseconds above 0")),
            Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        });
        said.unwrap_or(TIMEOUT).min(LONGEST_TIMEOUT)
    }

    fn gzip(&self, signal: Signal) -> bool {
        let said = self.said(signal, "COMPRESSION", |said| {
            match said.value.to_ascii_lowercase().as_str() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err(said.not("`gzip` or `none`")),
            }
        });
        said.unwrap_or(false)
    }

    fn tls(&self, signal: Signal) -> Tls {
        let path = |said: &Variable| PathBuf::from(&said.value);
        let certificate = self.of(signal, "CERTIFICATE");
        let client = (self.of(signal, "CLIENT_CERTIFICATE"), self.of(signal, "CLIENT_KEY"));
        let client = match client {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((path(&certificate), path(&key))),
            (Some(alone), None) => self.taken(Err(alone.lacks("CLIENT_KEY"))),
            (None, Some(alone)) => self.taken(Err(alone.lacks("CLIENT_CERTIFICATE"))),
        };
        Tls { certificate: certificate.as_ref().map(path), client }
    }

    /// The first of the variables that apply to this endpoint, chosen as by curl, and for gRPC
    /// without TLS as by its own libraries.
    pub(super) fn proxy(&self, protocol: Protocol, endpoint: &Uri) -> Option<Proxy> {
        let names = match (endpoint.scheme_str(), protocol) {
            (Some("https"), _) => &["HTTPS_PROXY", "ALL_PROXY"][..],
            (_, Protocol::Grpc) => &["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"],
            (_, Protocol::HttpProtobuf) => &["HTTP_PROXY", "ALL_PROXY"],
        };
        let no_proxy = self.in_any_case("NO_PROXY");
        if !is_proxied(endpoint, no_proxy.as_ref().map_or("", |said| &said.value)) {
            return None;
        }
        names.iter().filter_map(|name| self.in_any_case(name)).find_map(|said| {
            let proxy = Proxy::parse(&said.name, &said.value);
            let form = "the URL of an HTTP proxy, such as `http://proxy:3128` or \
                        `http://user:password@proxy:3128`, with `%40` for `@`";
            self.taken(proxy.ok_or_else(|| said.not(form)))
        })
    }

    /// For variables that are not OpenTelemetry's: in upper case, or else in lower case.
    fn in_any_case(&self, name: &str) -> Option<Variable> {
        self.get(name).or_else(|| self.get(&name.to_ascii_lowercase()))
    }

    /// The signal's variable, or else the general one.
    fn of(&self, signal: Signal, what: &str) -> Option<Variable> {
        self.own(signal, what).or_else(|| self.general(what))
    }

    fn own(&self, signal: Signal, what: &str) -> Option<Variable> {
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.in_variables()));
        own.map(|found| Variable { own: true, ..found })
    }

    fn general(&self, what: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{what}"))
    }

    pub(super) fn get(&self, name: &str) -> Option<Variable> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        let found = Variable { name: name.to_owned(), value: value.to_owned(), own: false };
        (!value.is_empty()).then_some(found)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(|said| self.taken(said.boolean())).unwrap_or(false)
    }
}

// === impl Variable ===

impl Variable {
    /// The words of a list, in lower case.
    pub(super) fn words(&self) -> Vec<String> {
        let words = self.value.split(',').map(|word| word.trim().to_ascii_lowercase());
        words.filter(|word| !word.is_empty()).collect()
    }

    fn boolean(&self) -> Result<bool, Ignored> {
        match () {
            () if self.value.eq_ignore_ascii_case("true") => Ok(true),
            () if self.value.eq_ignore_ascii_case("false") => Ok(false),
            () => Err(self.not("`true` or `false`")),
        }
    }

    pub(super) fn not(&self, allowed: &'static str) -> Ignored {
        Ignored::NotAllowed { variable: self.name.clone(), allowed }
    }

    pub(super) fn lacks(&self, what: &str) -> Ignored {
        let prefix = self.name.split("CLIENT_").next().unwrap_or_default();
        Ignored::Alone { variable: self.name.clone(), other: format!("{prefix}{what}") }
    }
}

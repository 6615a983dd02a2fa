//! An agent whose collector is behind a proxy: what its log says where that does not work.

use super::arrived;
use super::backend::Backend;
use crate::support::collector::Wire;
use crate::support::collector::pki::Pki;
use crate::support::ports;
use crate::support::proxy::{COLLECTOR, Manner, Proxy};
use crate::support::site::Site;

#[test]
fn a_proxy_that_is_away_or_refuses_is_named_and_its_password_is_not() {
    let wants = Proxy::start(Manner { wants: Some("ci:hunter@2"), ..Manner::default() });
    let refuses = Proxy::start(Manner { refuses: Some("403 Forbidden"), ..Manner::default() });
    let gone = format!("http://ci:hunter%402@127.0.0.1:{}", ports::free());
    let shown = |proxy: &Proxy| proxy.url("");
    for (protocol, proxy, said) in [
        (
            "grpc",
            wants.url("ci:hunter3@"),
            format!("the proxy {} of HTTP_PROXY requires valid credentials", shown(&wants)),
        ),
        ("http/protobuf", wants.url("ci:hunter3@"), format!("through {} ", shown(&wants))),
        ("http/protobuf", wants.url("ci:hunter3@"), "407 Proxy Authentication Required".into()),
        (
            "grpc",
            refuses.url("ci:hunter%402@"),
            format!(
                "the proxy {} of HTTP_PROXY refuses CONNECT to {COLLECTOR}:4317: 403",
                shown(&refuses)
            ),
        ),
        (
            "grpc",
            gone.clone(),
            format!("cannot reach the proxy {} of HTTP_PROXY", gone.replace("ci:hunter%402@", "")),
        ),
        (
            "http/protobuf",
            gone.clone(),
            format!("cannot reach the proxy {} of HTTP_PROXY", gone.replace("ci:hunter%402@", "")),
        ),
        ("http/protobuf", "socks5://ci:hunter3@proxy:1080".into(), "HTTP_PROXY is ignored".into()),
    ] {
        let site = Site::new();
        let endpoint = format!("http://{COLLECTOR}:4317");
        let agent = site.agent_to((&endpoint, protocol), &[], &[("HTTP_PROXY", &proxy)]);
        let pod = site.pod(1);
        pod.start("job").say("a line");
        let log = agent.until_logged(&said);
        assert!(!log.contains("hunter") && !log.contains("Y2k6"), "{log}");
        agent.stop();
    }
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let pki = Pki::new();
    for wire in [Wire::Http, Wire::Grpc] {
        let (site, backend) = (Site::new(), Backend::start(wire));
        let files = pki.write(site.root());
        let proxy = Proxy::start(Manner { pki: Some(pki.clone()), ..Manner::default() });
        let endpoint = backend.endpoint().replace("localhost", COLLECTOR);
        let more = [
            ("HTTP_PROXY", &*format!("https://{}", proxy.address)),
            ("SSL_CERT_FILE", files.authority.to_str().unwrap()),
        ];
        let agent = site.agent_to((&endpoint, backend.protocol()), &[], &more);
        let pod = site.pod(1);
        let mut job = pod.start("job");
        job.say("through two of them");
        arrived(&backend, 1, &agent);
        assert!(!proxy.asked().is_empty());
        agent.stop();
    }
}

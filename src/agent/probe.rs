//! `ephemon probe`: asks an agent by its address whether it works, for scripts and for `helm test`.

use std::time::{Duration, Instant};

use ephemon_base::visible;
use ephemon_client::{Address, Agent};

use crate::duration::parse;

/// For one attempt, from the look-up of the name to the last byte of the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Ask an agent whether it is ready, and for one of its metrics
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
EXIT CODES
  0  the agent is ready and has the metric; `ready` and its first sample are printed
  1  it is not ready, lacks the metric, or cannot be asked; standard error says why
  2  the command line is wrong

One attempt takes at most 10 s. With TLS (--web-config-file) the agent still answers over http://
whether it is ready, but not with metrics: leave out --metric.

EXAMPLE
  ephemon probe http://ephemon.ephemon.svc:9911 --metric ephemon_agent_build_info --wait 1m")]
pub(super) struct Args {
    /// The agent's address [example: `http://localhost:9911`]
    #[arg(value_name = "URL")]
    address: Address,

    /// Ask for /metrics, too: they must have a sample of this name
    #[arg(long, value_name = "NAME", value_parser = name)]
    metric: Option<String>,

    /// Ask again every second until the agent answers so, for at most this time
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse)]
    wait: Duration,
}

/// The agent does not answer as it should.
#[derive(Debug, thiserror::Error)]
#[error("agent {}: {why}", visible(agent))]
pub(super) struct Error {
    /// Its address.
    agent: String,
    /// Why, at the last attempt.
    #[source]
    why: ephemon_client::Error,
}

/// What it answers, to be printed.
pub(super) async fn run(args: &Args) -> Result<String, Error> {
    answer(args, ATTEMPT_TIMEOUT).await
}

async fn answer(args: &Args, limit: Duration) -> Result<String, Error> {
    let agent = Agent::at(&args.address);
    let began = Instant::now();
    loop {
        let attempt = tokio::time::timeout(limit, ask(&agent, args.metric.as_deref()));
        let why = match attempt.await {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(why)) => why,
            Err(_) => ephemon_client::Error::Timeout(limit.as_secs()),
        };
        if began.elapsed().saturating_add(PAUSE) > args.wait {
            return Err(Error { agent: agent.name().to_owned(), why });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(agent: &Agent, metric: Option<&str>) -> Result<String, ephemon_client::Error> {
    agent.ready().await?;
    let sample = match metric {
        Some(name) => format!("{}\n", agent.sample(name).await?),
        None => String::new(),
    };
    Ok(format!("ready\n{sample}"))
}

/// A name of Prometheus' data model.
fn name(text: &str) -> Result<String, &'static str> {
    let is_start = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    let is_name =
        text.starts_with(is_start) && text.chars().all(|c| is_start(c) || c.is_ascii_digit());
    is_name.then(|| text.to_owned()).ok_or("write a metric's name: letters, digits, `_` and `:`")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ephemon_capture::readings::Readings;
    use ephemon_discovery::inventory::Inventory;
    use ephemon_metrics::{Metrics, Options};
    use ephemon_self_metrics::SelfMetrics;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::admin::Admin;
    use crate::readiness::Readiness;

    fn args(address: SocketAddr, metric: Option<&str>, wait: Duration) -> Args {
        let address = format!("http://{address}").parse().unwrap();
        Args { address, metric: metric.map(str::to_owned), wait }
    }

    async fn agent(readiness: Readiness) -> SocketAddr {
        let self_metrics = SelfMetrics::new().unwrap();
        let (readings, inventory) = (Readings::default(), Inventory::default());
        let metrics = Metrics::new(readings, inventory, self_metrics.clone(), Options::default());
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin = Admin::bind(listen, metrics, readiness, self_metrics).await.unwrap();
        let address = admin.local_addr();
        tokio::spawn(admin.serve(std::future::pending()));
        address
    }

    #[tokio::test]
    async fn an_agent_is_asked_until_it_is_ready_and_for_a_metric() {
        let readiness = Readiness::default();
        let condition = readiness.condition("the pod list");
        let address = agent(readiness).await;
        let once = |metric| args(address, metric, Duration::ZERO);
        let error = run(&once(None)).await.unwrap_err().to_string();
        assert!(error.contains("503") && error.contains("- the pod list"), "{error}");
        assert!(error.starts_with(&format!("agent {address}: ")), "{error}");

        let waiting = args(address, None, Duration::from_mins(1));
        let met = async {
            tokio::task::yield_now().await;
            condition.met();
        };
        let (answer, ()) = tokio::join!(run(&waiting), met);
        assert_eq!(answer.unwrap(), "ready\n");

        let answer = run(&once(Some("ephemon_agent_build_info"))).await.unwrap();
        let sample = answer.strip_prefix("ready\nephemon_agent_build_info{");
        assert!(sample.is_some_and(|rest| rest.ends_with(" 1\n")), "{answer}");
        let error = run(&once(Some("ephemon_agent_build"))).await.unwrap_err().to_string();
        assert!(error.ends_with("no sample of ephemon_agent_build"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_agent_or_does_not_answer_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let once = args(address, None, Duration::ZERO);
        let other = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsomething";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (told, _stream) = tokio::join!(run(&once), other);
        let error = told.unwrap_err().to_string();
        assert!(error.contains("no agent"), "{error}");

        // It takes the connection and is silent.
        let error = answer(&once, Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("not answered within"), "{error}");

        // Nobody listens, nor can.
        let nobody = TcpSocket::new_v4().unwrap();
        nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let once = args(nobody.local_addr().unwrap(), None, Duration::ZERO);
        let error = run(&once).await.unwrap_err().to_string();
        assert!(error.contains("cannot connect"), "{error}");
    }

    #[test]
    fn a_metric_has_a_name() {
        assert_eq!(name("ephemon:a_1").as_deref(), Ok("ephemon:a_1"));
        for wrong in ["", "1a", "a b", "a{b=\"c\"}", "ä"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}

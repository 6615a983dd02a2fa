//! The embedded node held against a real one: one scenario, played on both, records what a client
//! and a reader of the node's files see, and the two recordings are compared line by line.
//!
//! A difference is mended in the embedded node, or it stands in `permitted::PERMITTED` and in the
//! documentation of `ephemon_demo`. One that appears fails the test, and so does one that has gone.
//!
//! Every play must be equal: what a real node may leave out of a life, because it lasts for an instant,
//! is declared in `order::ORDERS`.

mod answers;
mod client;
mod comparison;
mod ends;
mod events;
mod files;
mod life;
mod node;
mod order;
mod permitted;
mod recording;
mod requests;
mod words;

use tokio::runtime::Builder;

use crate::support::real_node::RealNode;
use client::Client;
use node::{Embedded, Node, Real};
use order::ORDERS;
use permitted::PERMITTED;
use recording::Recording;

/// A variable of who wants to know whether the comparison comes out the same each time: how often the
/// scenario is played. Once, if it is not set.
const PLAYS: &str = "EPHEMON_IT_PLAYS";

/// Plays the scenario and records it.
async fn play(node: &impl Node) -> Recording {
    let mut recording = Recording::new(&ORDERS);
    let client = Client::connect(node).await;
    client.make_namespace().await;
    answers::record(&client, &mut recording).await;
    requests::record(&client, &mut recording).await;
    life::record(node, &client, &mut recording).await;
    ends::record(&client, &mut recording).await;
    files::record(node, &client, &mut recording).await;
    client.remove_pods().await;
    recording
}

#[test]
fn what_a_client_sees_is_the_same_on_both_nodes() {
    let Some(real) = RealNode::shared() else {
        return;
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let real = Real(real);
    let plays = std::env::var(PLAYS).ok();
    let plays = plays.map_or(1, |plays| plays.parse().expect("EPHEMON_IT_PLAYS is a number"));
    for number in 1..=plays {
        eprintln!("play {number} of {plays}");
        let (embedded, real) = runtime.block_on(async {
            let real = play(&real).await;
            let node = Embedded::start().await;
            let embedded = play(&node).await;
            node.shutdown().await;
            (embedded, real)
        });
        let differences = comparison::differences(&embedded, &real);
        let wrong = comparison::judge(&differences, &PERMITTED) + &comparison::hidden(&embedded);
        assert!(wrong.is_empty(), "the embedded node and the real one differ otherwise:\n{wrong}");
    }
}

#[test]
fn every_permitted_difference_is_named_in_the_documentation() {
    let text = include_str!("../../src/demo/lib.rs");
    let documentation: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let documentation = documentation.join(" ");
    for permitted in &PERMITTED {
        let named = documentation.contains(permitted.why);
        assert!(named, "src/demo/lib.rs does not say for {}: {}", permitted.line, permitted.why);
    }
}

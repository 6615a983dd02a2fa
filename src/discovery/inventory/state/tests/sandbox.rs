//! Which container is the pod's sandbox, according to the runtime and by order.

use super::*;

#[test]
fn a_sandbox_is_told_apart_even_after_it_was_given_a_name_by_order() {
    let mut state = state([log(1, "job", 10)]);
    assert_eq!(name(&mut state, 1).unwrap(), "job");
    let sandbox = Evidence::Sandbox { id: id(1), pod: None };
    state.learn(sandbox, Instant::now());
    let facts = state.container(&uid(1), &id(1)).unwrap();
    assert_eq!(facts.container_type, ContainerType::Sandbox);
    assert_eq!(name(&mut state, 2).unwrap(), "job");
}

#[test]
fn a_container_that_was_there_before_all_logs_is_the_sandbox_until_somebody_names_it() {
    let mut state = state([log(1, "job", 20)]);
    let facts = state.container(&uid(1), &id(1)).unwrap();
    assert_eq!((&*facts.name, facts.container_type), (SANDBOX_NAME, ContainerType::Sandbox));
    assert_eq!(name(&mut state, 2).unwrap(), "job");
    state.learn(told(1, EvidenceSource::Api, word(Some(1), "early")), Instant::now());
    let facts = state.container(&uid(1), &id(1)).unwrap();
    assert_eq!((&*facts.name, facts.container_type), ("early", ContainerType::Unknown));
}

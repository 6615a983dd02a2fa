//! The text of queries, with labels as scrapes have them, and with hostile values.

use super::*;
use crate::matcher::MatcherError;

const DAY: Duration = Duration::from_hours(24);

fn queries(names: &[&str], matchers: &[&str]) -> Queries {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let matchers = matchers.iter().map(|text| Matcher::parse(text).unwrap()).collect();
    Queries::new(Labels::of(&names).remove(0), matchers)
}

#[test]
fn labels_that_the_scrape_renames_are_asked_for_by_their_new_names() {
    let plain = queries(&["namespace", "pod", "container"], &[]);
    let asked = plain.query(Question::Cpu, DAY);
    assert_eq!(
        asked,
        "(sum by (cluster, namespace, pod) (max by (cluster, namespace, pod, container) \
         (max_over_time(ephemon_container_cpu_usage_seconds_total{container_type!=\"nested\"}\
         [86400s])))) and on (cluster, namespace, pod) max by (cluster, namespace, pod) \
         (last_over_time(ephemon_job_info{}[86400s]))"
    );
    let all = [
        "namespace",
        "exported_namespace",
        "pod",
        "exported_pod",
        "container",
        "exported_container",
    ];
    let renamed = queries(&all, &[]);
    for question in Question::ALL {
        let asked = renamed.query(question, DAY);
        assert!(asked.contains("exported_namespace, exported_pod"));
    }
    let kube = renamed.query(Question::KubeLimits, DAY);
    assert!(kube.contains("\"pod\", \"$1\", \"exported_pod\", \"(.*)\")"), "{kube}");
    // An agent's own pod is no runner's.
    let mixed = Labels::of(&all.map(str::to_owned));
    for (labels, expected) in mixed.iter().zip(["exported_pod!=\"\"", "exported_pod=\"\""]) {
        let queries = Queries::new(labels.clone(), Vec::new());
        for question in Question::ALL {
            let asked = queries.query(question, DAY);
            let families = asked.matches("ephemon_").count();
            assert_eq!(asked.matches(expected).count(), families, "{asked}");
        }
    }
}

#[test]
fn a_pod_with_a_container_without_a_limit_has_none() {
    let queries = queries(&["namespace", "pod", "container"], &[]);
    for (question, family) in
        [(Question::MemoryLimit, "memory_limit_bytes"), (Question::CpuLimit, "cpu_limit_cores")]
    {
        let highest = |family| {
            format!(
                "max by (cluster, namespace, pod, container) \
                 (max_over_time(ephemon_container_{family}{{{OF_POD}}}[86400s]))"
            )
        };
        let (all, limited) = (highest("start_time_seconds"), highest(family));
        let expected = format!(
            "(sum by (cluster, namespace, pod) ({limited}) unless on (cluster, namespace, pod) \
             ({all} unless {limited})) and on"
        );
        let asked = queries.query(question, DAY);
        assert!(asked.starts_with(&expected), "{asked}");
    }
    let kube = queries.query(Question::KubeLimits, DAY);
    assert!(kube.contains("== on (namespace, pod) group_left () count by"), "{kube}");
}

#[test]
fn a_value_cannot_leave_its_string() {
    let hostile = "repository=o\"} or vector(1) #/a\\\"\n";
    let asked = queries(&["namespace", "pod", "container"], &[hostile, "job=x"]);
    assert!(asked.query(Question::Jobs, DAY).contains(
        "ephemon_job_info{organization=\"o\\\"} or vector(1) #\", \
         repository=\"a\\\\\\\"\\U0000000a\", job_id=\"x\"}"
    ));
    assert_eq!(Matcher::parse("repository"), Err(MatcherError::NoValue));
    assert!(matches!(Matcher::parse("x=1"), Err(MatcherError::NoLabel(_))));
    assert_eq!(Matcher::parse(&format!("job={}", "x".repeat(1025))), Err(MatcherError::TooLong));
}

#[test]
fn the_points_of_a_window_are_bounded() {
    let queries = queries(&["namespace", "pod", "container"], &[]);
    for (seconds, step) in [(60, "[60s:1s]"), (86_400, "[86400s:15s]")] {
        let asked = queries.query(Question::WorkingSet, Duration::from_secs(seconds));
        assert!(asked.contains(step), "{asked}");
    }
}

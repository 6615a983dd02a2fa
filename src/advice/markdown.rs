//! The advice as Markdown, for a ticket or a step summary. Pure.

use std::fmt::Write as _;

use ephemon_markdown::escaped;

use super::advice::Advice;
use super::table::{cells, heads, notes};

/// A table and a block of YAML for each scale set.
pub fn markdown(advice: &Advice) -> String {
    let mut text = String::from("## Requests and limits of runners\n\n");
    let heads = heads(advice);
    let mut row = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.collect();
        writeln!(text, "| {} |", cells.join(" | ")).ok();
    };
    row(&mut heads.iter().map(|head| head.to_lowercase()));
    row(&mut heads.iter().map(|_| "---".to_owned()));
    for one in &advice.rows {
        row(&mut cells(one, advice).iter().map(|cell| escaped(cell)));
    }
    for note in notes(advice) {
        writeln!(text, "\n{note}").ok();
    }
    for set in &advice.scale_sets {
        // Names in it are one line each, so no line of it ends the fence.
        write!(text, "\n```yaml\n{}```\n", set.values).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobUse, Kind, LeftOut, Price, Resources, Rule, Source, Usage};

    const HOSTILE: &str = "<img src=x>|`[a](javascript:b)\n```\u{1b}[2J";

    fn advice() -> Advice {
        let kind = Kind {
            cluster: HOSTILE.into(),
            namespace: HOSTILE.into(),
            repository: HOSTILE.into(),
            workflow: HOSTILE.into(),
            job: HOSTILE.into(),
        };
        let gib = 1_073_741_824.0;
        let job = |number: u32| JobUse {
            kind: kind.clone(),
            scale_set: Some("arc-set".into()),
            start: f64::from(number),
            seconds: Some(1800.0),
            cpu_seconds: Some(900.0),
            memory_bytes: Some(gib),
            memory_peak_bytes: Some(gib * 1.5),
            oom_kills: Some(0.0),
            request: Resources { cpu_cores: Some(2.0), memory_bytes: Some(4.0 * gib) },
            limit: Resources { cpu_cores: None, memory_bytes: Some(8.0 * gib) },
            ..JobUse::default()
        };
        let jobs: Vec<JobUse> = (0..10).map(job).collect();
        let price = Price { node_per_hour: 1.0, node_cpus: 4.0, node_gib: 16.0 };
        let rule = Rule { min_jobs: 10 };
        Advice::new(
            Source::Prometheus,
            Usage::by_kind(&jobs),
            LeftOut { unknown: 2, elsewhere: 3 },
            rule,
            Some(price),
        )
    }

    #[test]
    fn ten_jobs_make_a_row_and_values() {
        let advice = advice();
        let row = &advice.rows[0];
        // 10 jobs of half an hour: 2 cores less 0.5, and 4 GiB less 1.
        assert_eq!(
            (row.verdict.waste_core_hours, row.verdict.waste_gib_hours),
            (Some(7.5), Some(15.0))
        );
        let waste = row.money.unwrap().waste;
        assert!((waste - (7.5 / 8.0 + 15.0 / 32.0)).abs() < 1e-9, "{waste}");
        let text = crate::table(&advice);
        assert!(text.contains("0.50/0.50/0.50"), "{text}");
        assert!(text.contains("          requests: { cpu: \"600m\", memory: 1280Mi }\n"), "{text}");
        assert!(text.contains("          limits: { memory: 1920Mi }\n"), "{text}");
        // Said once: a pod's requests must have room for all of its containers' requests.
        assert!(text.contains("    # resources:\n    #   requests: { cpu: \"600m\""), "{text}");
        assert!(!text.contains("\n    resources:"), "{text}");
        assert!(text.contains("2 job(s) are left out"), "{text}");
        assert!(
            text.contains("3 job(s) are left out: their steps ran in pods of their own"),
            "{text}"
        );
    }

    #[test]
    fn hostile_names_are_neither_markup_nor_lines_nor_escapes() {
        let advice = advice();
        for text in [markdown(&advice), crate::table(&advice)] {
            assert!(!text.contains('\u{1b}'), "{text}");
            assert!(
                !text
                    .lines()
                    .any(|line| line.starts_with("```") && !["```", "```yaml"].contains(&line))
            );
        }
        let text = markdown(&advice);
        let row = text.lines().find(|line| line.contains("img")).unwrap();
        assert_eq!(row.matches('|').count(), heads(&advice).len() + 1, "{row}");
        assert!(!row.contains('<') && !row.contains('`') && !row.contains('['), "{row}");
        // The values are comments and figures, whatever a namespace is called.
        let values = &advice.scale_sets[0].values;
        assert!(values.lines().skip(1).all(|line| !line.contains("img")), "{values}");
        serde_json::to_string(&advice).unwrap();
    }
}

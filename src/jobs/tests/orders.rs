//! The order in which evidence comes makes no difference.

use proptest::prelude::*;

use crate::story::{Story, pod, s};
use crate::{Evidence, JobEvidence};

/// What a container looked like at several times of its life.
fn glimpses(story: &Story) -> Vec<Evidence> {
    let mut all = Vec::new();
    for second in [13, 22, 31, 43, 60] {
        let mut early = story.clone();
        early.until(second);
        let containers = |piece: &Evidence| matches!(piece, Evidence::Container(_));
        all.extend(early.pieces.into_iter().filter(containers));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_gives_the_same_record(seed: u64, twice in any::<bool>()) {
        let mut story = Story::whole();
        story.runner(9, "Running job: test (1.23)");
        story.runner(62, "Job test (1.23) completed with result: Failed");
        story.pieces.push(Evidence::Gone { at_ns: s(80) });
        let wanted = story.job_evidence().job(Some(s(100)));
        let mut pieces = story.pieces.clone();
        pieces.extend(glimpses(&story));
        if twice {
            pieces.extend(story.pieces.clone());
        }
        fastrand::Rng::with_seed(seed).shuffle(&mut pieces);
        let mut job_evidence = JobEvidence::new(pod());
        for piece in pieces {
            job_evidence.take(piece);
        }
        prop_assert_eq!(job_evidence.job(Some(s(100))), wanted);
    }
}

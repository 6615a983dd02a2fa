//! What the journals claim that steps used, held against what the kernel counted for their
//! containers. No step has used more than its container, nor all of them together. Pure.

use ephemon_contract::StepKind;
use ephemon_model::Quality;

use super::figures::Figures;
use super::job::{Container, Proof};
use super::outcome::{Fault, JobResult, Outcome};
use super::steps::Claimed;
use super::written::Ran;

/// Clocks of the kernel and of processes differ by this much and a hundredth, and nobody lied.
const TOLERANCE_NS: u64 = 10_000_000;
/// A step that was under way when its container ended is over within this time of it.
const AT_THE_END_NS: u64 = 1_000_000_000;

/// What the kernel says of one container.
struct Counted {
    figures: Figures,
    /// When it was read; `None` where it is final.
    read_ns: Option<u64>,
    quality: Option<Quality>,
    ended_ns: Option<u64>,
}

/// Enters figures into the steps of one container.
pub(super) fn reconcile(container: &Container, read_ns: Option<u64>, steps: &mut [&mut Claimed]) {
    let quality = match container.proof {
        Proof::Kernel(quality) => Some(quality),
        _ => None,
    };
    let counted = Counted {
        figures: container.figures,
        read_ns: read_ns.filter(|_| quality.is_none()),
        quality,
        ended_ns: container.window.end.map(|end| end.ns),
    };
    let known = container.proof != Proof::None;
    for claimed in steps.iter_mut() {
        let Some(ran) = &claimed.ran else { continue };
        claimed.step.figures = claims(ran);
        claimed.step.max_rss_bytes =
            ran.ended.as_ref().map(|ended| ended.process.max_rss_bytes).filter(|rss| *rss > 0);
        claimed.step.proof = match &ran.ended {
            None => Proof::None,
            Some(_) if known && counted.covers(claimed) => Proof::Confirmed,
            Some(_) => Proof::Unconfirmed,
        };
    }
    counted.share(steps, |figures| &mut figures.cpu_ns, TOLERANCE_NS);
    counted.share(steps, |figures| &mut figures.throttled_ns, TOLERANCE_NS);
    counted.share(steps, |figures| &mut figures.read_bytes, 0);
    counted.share(steps, |figures| &mut figures.written_bytes, 0);
    counted.peaks(steps);
    counted.kills(steps);
    counted.last(steps);
    for claimed in steps.iter_mut() {
        judge(claimed);
    }
    alone(container, steps);
}

fn claims(ran: &Ran) -> Figures {
    let Some(ended) = &ran.ended else { return Figures::default() };
    let (process, cgroup) = (ended.process, ended.cgroup);
    let of_process = process.user_us.saturating_add(process.system_us).saturating_mul(1000);
    Figures {
        cpu_ns: cgroup.cpu_ns.or(Some(of_process)),
        throttled_ns: cgroup.throttled_ns,
        memory_peak_bytes: cgroup
            .memory_peak_bytes
            .filter(|_| cgroup.memory_peak_rose == Some(true)),
        memory_byte_ms: None,
        oom_kills: cgroup.oom_kills,
        read_bytes: cgroup.read_bytes,
        written_bytes: cgroup.written_bytes,
    }
}

/// A step whose processes an OOM killer ended did not fail by itself.
fn judge(claimed: &mut Claimed) {
    let step = &mut claimed.step;
    let proven = matches!(step.proof, Proof::Confirmed | Proof::Clamped | Proof::Kernel(_));
    let killed = proven && step.figures.oom_kills.is_some_and(|kills| kills > 0);
    let failed = matches!(step.outcome.result, JobResult::Failure | JobResult::Error);
    if killed && failed {
        step.outcome = Outcome::error(Fault::OomKilled, step.outcome.exit_code);
    }
}

/// A container that is there for one step: what it used, the step used, whatever the journal says.
fn alone(container: &Container, steps: &mut [&mut Claimed]) {
    if let [only] = steps
        && only.step.kind == Some(StepKind::Container)
        && matches!(container.proof, Proof::Kernel(_))
    {
        only.step.figures = container.figures;
        only.step.proof = container.proof;
        judge(only);
    }
}

/// Those whose claims the kernel's figures speak to.
fn proven<'a>(steps: &'a mut [&mut Claimed]) -> impl Iterator<Item = &'a mut Claimed> {
    let spoken_to =
        |one: &&mut Claimed| matches!(one.step.proof, Proof::Confirmed | Proof::Clamped);
    steps.iter_mut().map(|claimed| &mut **claimed).filter(spoken_to)
}

// === impl Counted ===

impl Counted {
    /// Whether the kernel's figures were read after the step's end.
    fn covers(&self, claimed: &Claimed) -> bool {
        let end = claimed.step.window.end.map_or(u64::MAX, |end| end.ns);
        self.quality.is_some() || self.read_ns.is_some_and(|read| read >= end)
    }

    /// No more than the kernel's, by each and by all: where all claim too much, each gets its share.
    fn share(
        &self,
        steps: &mut [&mut Claimed],
        figure: fn(&mut Figures) -> &mut Option<u64>,
        tolerance: u64,
    ) {
        let mut counted = self.figures;
        let Some(all) = *figure(&mut counted) else {
            // The kernel does not count it here, and nobody else can.
            proven(steps).for_each(|claimed| *figure(&mut claimed.step.figures) = None);
            return;
        };
        let claims = proven(steps).filter_map(|claimed| *figure(&mut claimed.step.figures));
        let sum: u128 = claims.map(u128::from).sum();
        let honest = sum <= u128::from(all) + u128::from(all / 100) + u128::from(tolerance);
        for claimed in proven(steps) {
            let place = figure(&mut claimed.step.figures);
            let Some(claim) = *place else { continue };
            if sum > u128::from(all) {
                let share = u128::from(claim) * u128::from(all) / sum;
                *place = Some(u64::try_from(share).unwrap_or(all));
            }
            if !honest {
                claimed.step.proof = Proof::Clamped;
            }
        }
    }

    fn peaks(&self, steps: &mut [&mut Claimed]) {
        for claimed in proven(steps) {
            let highest = self.figures.memory_peak_bytes;
            let step = &mut claimed.step;
            let too_high = |claim: Option<u64>| claim.zip(highest).is_some_and(|(a, b)| a > b);
            if too_high(step.figures.memory_peak_bytes) {
                step.figures.memory_peak_bytes = highest;
                step.proof = Proof::Clamped;
            }
            // A resident page may be charged to somebody else: no lie.
            if too_high(step.max_rss_bytes) {
                step.max_rss_bytes = highest;
            }
        }
    }

    /// Kills go to those who claim them, the earliest first, while there are any.
    fn kills(&self, steps: &mut [&mut Claimed]) {
        let mut left = self.figures.oom_kills.unwrap_or_default();
        for claimed in proven(steps) {
            let claim = claimed.step.figures.oom_kills.unwrap_or_default();
            let given = claim.min(left);
            left -= given;
            if given < claim {
                claimed.step.figures.oom_kills = Some(given);
                claimed.step.proof = Proof::Clamped;
            }
        }
    }

    /// Kills that nobody claims hit whoever ran when the container ended: init was among the dead,
    /// or had no time to say so.
    fn last(&self, steps: &mut [&mut Claimed]) {
        let (Some(end), Some(_)) = (self.ended_ns, self.quality) else { return };
        let claimed: u64 = steps
            .iter()
            .filter(|claimed| claimed.step.proof != Proof::Unconfirmed)
            .filter_map(|claimed| claimed.step.figures.oom_kills)
            .sum();
        let left = self.figures.oom_kills.unwrap_or_default().saturating_sub(claimed);
        if left == 0 {
            return;
        }
        let hit = steps.iter_mut().rev().find(|claimed| {
            let over = claimed.ran.as_ref().and_then(|ran| ran.ended.as_ref());
            over.is_none_or(|over| over.at_ns.saturating_add(AT_THE_END_NS) >= end)
        });
        if let Some(claimed) = hit {
            let kills = &mut claimed.step.figures.oom_kills;
            *kills = Some(kills.unwrap_or_default().saturating_add(left));
            if claimed.step.proof == Proof::None {
                claimed.step.proof = Proof::Confirmed;
            }
        }
    }
}

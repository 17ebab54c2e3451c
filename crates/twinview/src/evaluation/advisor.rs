//! What the figures of a pretraining run say, in words: is it good, and when to stop.

use serde::{Deserialize, Serialize};

use super::CollapseMonitor;

/// What was measured after an epoch of pretraining; figures that were not measured are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Epochs done, from 1.
    pub epoch: u64,
    /// Epochs planned.
    pub epochs: u64,
    /// The mean loss of the epoch.
    pub loss: f64,
    /// The spread of the outputs ([`output_spread`](super::output_spread)): 1 is wide, 0 collapsed.
    pub output_std: Option<f64>,
    /// The [`effective_rank`](super::effective_rank) of the embedding: at least 1.
    pub effective_rank: Option<f64>,
    /// The [`alignment`](super::alignment) of two views, 0..=4: low is near.
    pub alignment: Option<f64>,
    /// The [`uniformity`](super::uniformity) of the embedding, -4..=0: low is even.
    pub uniformity: Option<f64>,
    /// The share of a validation split that the nearest neighbours classify right: 0..=1.
    pub knn_accuracy: Option<f64>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Too little has been seen.
    #[default]
    Open,
    /// A measure of quality has got better lately.
    Improving,
    /// No measure of quality has got better for a good while.
    Done,
    /// kNN accuracy has been better and falls.
    Declining,
    /// The outputs become the same for all images, or use fewer and fewer directions.
    Collapsing,
}

impl Verdict {
    /// The verdict in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Improving => "improving",
            Self::Done => "settled",
            Self::Declining => "declining",
            Self::Collapsing => "collapsing",
        }
    }
}

/// Follows a run and speaks when the verdict on it changes.
///
/// Labels decide where there are some: kNN accuracy on a validation split. Without them the effective rank and the
/// sum of alignment and uniformity stand in; they show that the representation still changes for the better by those
/// measures, not how good it is. The loss never counts as evidence: it also falls while the outputs collapse.
#[derive(Clone, Debug, Default)]
pub struct Advisor {
    monitor: CollapseMonitor,
    seen: Vec<Observation>,
    verdict: Verdict,
}

/// A measure of quality: its name, how high it is (higher is better), what gain counts, and how it is shown.
struct Measure {
    name: &'static str,
    height: fn(&Observation) -> Option<f64>,
    margin: f64,
    show: fn(f64) -> String,
}

/// Half a percentage point: what a few thousand validation images can tell.
const KNN: Measure = Measure {
    name: "kNN accuracy",
    height: |seen| seen.knn_accuracy,
    margin: 0.005,
    show: |height| format!("{height:.3}"),
};
/// Compared by its logarithm: the margin is 3 %.
const RANK: Measure = Measure {
    name: "effective rank",
    height: |seen| seen.effective_rank.map(|rank| rank.max(1.0).ln()),
    margin: 0.03,
    show: |height| format!("{:.1}", height.exp()),
};
/// The two bounds of Wang and Isola 2020 (arXiv:2005.10242) together: alone, each can be had by ruining the other.
const SPHERE: Measure = Measure {
    name: "alignment + uniformity",
    height: |seen| Some(-(seen.alignment? + seen.uniformity?)),
    margin: 0.02,
    show: |height| format!("{:.2}", -height),
};
/// Collapsing: the effective rank falls below this share of its best.
const LOST_RANK: f64 = 1.0 / 3.0;
/// Declining: kNN accuracy falls this far below its best.
const DECLINE: f64 = 0.02;

impl Measure {
    /// The highest value of `seen` and its epoch; the first of equals.
    fn best(&self, seen: &[Observation]) -> Option<(f64, u64)> {
        let heights = seen.iter().filter_map(|seen| Some(((self.height)(seen)?, seen.epoch)));
        heights.filter(|height| height.0.is_finite()).reduce(|best, next| if next.0 > best.0 { next } else { best })
    }

    fn latest(&self, seen: &[Observation]) -> Option<f64> {
        seen.iter().rev().find_map(self.height)
    }
}

impl Advisor {
    /// An advisor that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the run stands after the last observation.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes what was measured after an epoch; gives what there is to say when the verdict has changed.
    ///
    /// The figures need not be measured after every epoch.
    pub fn observe(&mut self, observation: Observation) -> Option<String> {
        self.seen.push(observation);
        let spread = observation.output_std.filter(|_| observation.loss.is_finite());
        let spread = if observation.loss.is_finite() { spread } else { Some(f64::NAN) };
        let warning = spread.and_then(|spread| self.monitor.observe(observation.epoch, spread));
        let (verdict, reason) = if self.monitor.is_collapsed() {
            (Verdict::Collapsing, warning.unwrap_or_default())
        } else {
            let (verdict, reason) = self.judge()?;
            (verdict, format!("epoch {}: {reason}", observation.epoch))
        };
        let changed = verdict != self.verdict;
        self.verdict = verdict;
        changed.then_some(reason)
    }

    /// The last word on a run that has ended; `None` when nothing was observed.
    pub fn summary(&self) -> Option<String> {
        let last = self.seen.last()?;
        let advice = match self.verdict {
            Verdict::Open => "too little was measured to say whether it is good: train longer, or measure more often",
            Verdict::Improving => "it was still improving: more epochs are likely to help",
            Verdict::Done => "it was done by the look of it: more epochs alone will hardly help",
            Verdict::Declining => "it was past its best: fewer epochs, or a weaker training, would have been better",
            Verdict::Collapsing => "it had collapsed: do not use these weights",
        };
        let figure = |measure: &Measure| {
            let (best, epoch) = measure.best(&self.seen)?;
            let latest = measure.latest(&self.seen)?;
            let show = measure.show;
            Some(format!("{} {} (best {} at epoch {epoch})", measure.name, show(latest), show(best)))
        };
        let figures: Vec<String> = [KNN, RANK, SPHERE].iter().filter_map(figure).collect();
        let figures = if figures.is_empty() { "nothing but the loss was measured".into() } else { figures.join(", ") };
        let caution = if self.has_labels() { "" } else { WITHOUT_LABELS };
        Some(format!("after epoch {} of {}, {advice}. Measured: {figures}{caution}", last.epoch, last.epochs))
    }

    fn has_labels(&self) -> bool {
        self.seen.iter().any(|seen| seen.knn_accuracy.is_some())
    }

    /// The verdict on outputs that have not collapsed, and why; `None` when it stays as it is.
    fn judge(&self) -> Option<(Verdict, String)> {
        let last = self.seen.last()?;
        // A gain is looked for in this many epochs; a run is done after none in twice as many.
        let window = last.epochs.div_ceil(10).max(4);
        let measures = if self.has_labels() { [KNN, RANK] } else { [RANK, SPHERE] };
        let gained = |measure: &Measure| self.gain(measure, window).is_some_and(|gain| gain.0 > measure.margin);

        if let (Some((best, epoch)), Some(latest)) = (RANK.best(&self.seen), RANK.latest(&self.seen))
            && latest < best + LOST_RANK.ln()
            && !gained(&KNN)
        {
            return Some((
                Verdict::Collapsing,
                format!(
                    "collapsing: the effective rank fell to {:.1} from {:.1} at epoch {epoch}: the outputs use fewer \
                     and fewer directions. A low loss says nothing now. Try a smaller learning rate or weaker \
                     augmentations",
                    latest.exp(),
                    best.exp()
                ),
            ));
        }
        if let (Some((best, epoch)), Some(latest)) = (KNN.best(&self.seen), KNN.latest(&self.seen))
            && latest < best - DECLINE
            && epoch + window <= last.epoch
        {
            return Some((
                Verdict::Declining,
                format!(
                    "past its best: kNN accuracy fell to {latest:.3} from {best:.3} at epoch {epoch}; stop, and take \
                     an earlier checkpoint if there is one"
                ),
            ));
        }
        let gains: Vec<String> = measures
            .iter()
            .filter(|measure| gained(measure))
            .filter_map(|measure| {
                let (_, before, now) = self.gain(measure, window)?;
                Some(format!("{} {} → {}", measure.name, (measure.show)(before), (measure.show)(now)))
            })
            .collect();
        if !gains.is_empty() {
            let reason = format!("still improving: {} over the last {window} epochs", gains.join(", "));
            return Some((Verdict::Improving, reason));
        }
        self.is_still(&measures, 2 * window).map(|still| (Verdict::Done, still))
    }

    /// By how much the best of the last `window` epochs exceeds all before, and both.
    fn gain(&self, measure: &Measure, window: u64) -> Option<(f64, f64, f64)> {
        let last = self.seen.last()?.epoch;
        let recent = self.seen.partition_point(|seen| seen.epoch + window <= last);
        let (before, _) = measure.best(&self.seen[..recent])?;
        let (now, _) = measure.best(&self.seen[recent..])?;
        Some((now - before, before, now))
    }

    /// What to say when none of the measures gained in the last `window` epochs.
    fn is_still(&self, measures: &[Measure], window: u64) -> Option<String> {
        let gains: Vec<(&Measure, f64)> =
            measures.iter().filter_map(|measure| Some((measure, self.gain(measure, window)?.0))).collect();
        if gains.is_empty() || gains.iter().any(|(measure, gain)| *gain > measure.margin) {
            return None;
        }
        let stand = |measure: &Measure| {
            let (best, epoch) = measure.best(&self.seen)?;
            let (show, latest) = (measure.show, measure.latest(&self.seen)?);
            Some(format!("{} ({}, best {} at epoch {epoch})", measure.name, show(latest), show(best)))
        };
        let stands: Vec<String> = gains.iter().filter_map(|(measure, _)| stand(measure)).collect();
        let moved = match &stands[..] {
            [one] => format!("{one} did not get better"),
            _ => format!("neither {} got better", stands.join(" nor ")),
        };
        let caution = if self.has_labels() { "" } else { WITHOUT_LABELS };
        Some(format!("done by the look of it: {moved} in the last {window} epochs{caution}"))
    }
}

const WITHOUT_LABELS: &str = ". Without labels this tells whether the outputs still change, not how good they are; a \
                              falling loss does not tell either";

#[cfg(test)]
#[path = "advisor_tests.rs"]
mod tests;

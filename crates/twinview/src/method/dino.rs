//! DINO: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021 (arXiv 2104.14294).
//!
//! ```text
//! student: all views         teacher (a slow copy): the first two
//! loss   = cross-entropy of softmax((teacher(v) − center) / cold) and softmax(student(w) / warm), v ≠ w
//! center = slow mean of the teacher's outputs
//! ```
//!
//! Centring keeps one output from winning always, the cold teacher keeps all from being alike; together they replace
//! negatives. The paper's head has 65,536 outputs.

use serde::{Deserialize, Serialize};

use super::loss::{dino, dino_center};
use super::{
    Activation, Heads, Method, MlpConfig, Network, Step, Views, at_least_one, each_view, positive, share, watched,
};
use crate::Result;
use crate::optim::{Progress, cosine_schedule};

/// Settings of DINO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dino {
    /// Widths of the projector's layers, the last the bottleneck before the outputs.
    pub projector: Vec<usize>,
    /// Outputs.
    pub prototypes: usize,
    /// The student's temperature.
    pub student_temperature: f64,
    /// The teacher's at the start.
    pub teacher_temperature_start: f64,
    /// The teacher's after `warmup_epochs`, reached in a straight line.
    pub teacher_temperature: f64,
    /// Epochs in which the teacher's temperature rises.
    pub warmup_epochs: u64,
    /// Epochs in which the outputs' directions stay as they are.
    pub frozen_epochs: u64,
    /// Share of itself that the center keeps.
    pub center_momentum: f64,
    /// Share of itself that the teacher keeps at the start; it grows to 1 along a half cosine.
    pub momentum: f64,
}

impl Default for Dino {
    fn default() -> Self {
        Self {
            projector: vec![512, 512, 128],
            prototypes: 1024,
            student_temperature: 0.1,
            teacher_temperature_start: 0.04,
            teacher_temperature: 0.07,
            warmup_epochs: 5,
            frozen_epochs: 1,
            center_momentum: 0.9,
            momentum: 0.99,
        }
    }
}

impl Dino {
    fn teacher_temperature(&self, progress: Progress) -> f64 {
        let warm = (self.warmup_epochs * progress.steps_per_epoch).max(1) as f64;
        let share = (progress.step as f64 / warm).min(1.0);
        self.teacher_temperature_start + (self.teacher_temperature - self.teacher_temperature_start) * share
    }
}

impl Method for Dino {
    fn title(&self) -> &'static str {
        "DINO"
    }

    fn validate(&self) -> Result<()> {
        positive([
            ("student_temperature", self.student_temperature),
            ("teacher_temperature_start", self.teacher_temperature_start),
            ("teacher_temperature", self.teacher_temperature),
        ])?;
        share("center_momentum", self.center_momentum)?;
        share("momentum", self.momentum)?;
        at_least_one([("projector", &self.projector), ("prototypes", &[self.prototypes])])
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Some(MlpConfig::new(&self.projector).without_norm()),
            prototypes: self.prototypes,
            target: true,
            center: true,
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, views: Views, progress: Progress) -> Step {
        let teacher = network.target();
        let targets = teacher.scores(teacher.project_with(views.range(0, 2), 2, Activation::Gelu), true).detach();
        let count = views.count;
        let projections = network.online.project_with(views.pixels, count, Activation::Gelu);
        let output = watched(&projections, count);
        let is_frozen = progress.step < self.frozen_epochs * progress.steps_per_epoch;
        let scores = each_view(network.online.scores(projections, is_frozen), count);
        let center = network.center();
        let targets = each_view(targets, 2);
        let loss =
            dino(&targets, &scores, center.clone(), self.teacher_temperature(progress), self.student_temperature);
        network.set_center(dino_center(center, &targets, self.center_momentum));
        Step { loss, output }
    }

    fn momentum(&self, progress: Progress) -> f64 {
        cosine_schedule(progress.step, progress.steps, self.momentum, 1.0)
    }
}

//! Learning rates, and other numbers, that change over a training.

use serde::{Deserialize, Serialize};

use super::Progress;
use super::config::{check, check_not_negative};
use crate::Result;

/// How the learning rate changes over a training, update by update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    Constant {},
    /// It rises, then falls along a cosine.
    Cosine(CosineConfig),
}

impl Default for Schedule {
    /// A constant learning rate.
    fn default() -> Self {
        Self::Constant {}
    }
}

/// Linear warm-up, then half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts), with the
/// numbers of lightly's `CosineWarmupScheduler`.
///
/// Of `w` updates of warm-up, the first has the factor `start_factor + (1 - start_factor) / w` and the last one 1.
/// The first update after them has 1 too, and the last of the training `final_factor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// Epochs of warm-up, to the nearest update; parts of an epoch may be given.
    pub warmup_epochs: f32,
    /// Factor that the warm-up begins above.
    pub start_factor: f32,
    /// Factor of the last update.
    pub final_factor: f32,
}

impl Schedule {
    /// What the learning rate is multiplied with at an update.
    pub fn factor(&self, progress: Progress) -> f32 {
        let Self::Cosine(CosineConfig { warmup_epochs, start_factor, final_factor }) = *self else { return 1.0 };
        let Progress { step, steps, steps_per_epoch } = progress;
        let warmup = (f64::from(warmup_epochs) * steps_per_epoch as f64).round() as u64;
        let factor = if step < warmup {
            let start = f64::from(start_factor);
            start + (1.0 - start) * (step + 1) as f64 / warmup as f64
        } else {
            cosine_schedule(step - warmup, steps.saturating_sub(warmup), 1.0, final_factor.into())
        };
        factor as f32
    }

    /// Refuses settings that cannot train for `epochs`.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self, epochs: u64) -> Result<()> {
        let Self::Cosine(CosineConfig { warmup_epochs, start_factor, final_factor }) = *self else { return Ok(()) };
        let is_shorter = |warmup: &f32| *warmup >= 0.0 && f64::from(*warmup) < epochs as f64;
        let expected = format!("at least 0 and below epochs = {epochs}");
        check("schedule.warmup_epochs", warmup_epochs, is_shorter, expected)?;
        check_not_negative("schedule.start_factor", start_factor)?;
        check_not_negative("schedule.final_factor", final_factor)
    }
}

/// The value at `step`, from 0, of half a cosine from `start` at the first of `max_steps` steps to `end` at the last,
/// as lightly's `cosine_schedule` has it. Later steps have `end` too.
///
/// The momentum of BYOL, MoCo v3 and DINO follows it.
pub fn cosine_schedule(step: u64, max_steps: u64, start: f64, end: f64) -> f64 {
    if step + 1 >= max_steps {
        return end;
    }
    let phase = std::f64::consts::PI * step as f64 / (max_steps - 1) as f64;
    end - (end - start) * (phase.cos() + 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(warmup_epochs: f32, start_factor: f32, final_factor: f32) -> Schedule {
        Schedule::Cosine(CosineConfig { warmup_epochs, start_factor, final_factor })
    }

    #[test]
    fn warms_up_in_parts_of_an_epoch() {
        let schedule = cosine(0.5, 0.0, 0.0);
        let factor = |step| schedule.factor(Progress { step, steps: 24, steps_per_epoch: 8 });
        assert_eq!([0, 1, 2, 3, 4].map(factor), [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!(factor(5) < 1.0 && factor(22) > 0.0);
        assert_eq!(factor(23), 0.0);
    }

    #[test]
    fn no_training_is_too_short() {
        for steps in 1..4 {
            let factor = cosine(0.9, 0.0, 0.5).factor(Progress { step: steps - 1, steps, steps_per_epoch: 1 });
            assert!((0.5..=1.0).contains(&factor), "{steps}: {factor}");
        }
        assert_eq!(cosine_schedule(0, 0, 1.0, 0.5), 0.5);
    }

    #[test]
    fn settings_are_read_by_name() {
        let read = |text: &str| toml::from_str::<Schedule>(text).map_err(|error| error.message().to_owned());
        assert_eq!(read("name = 'constant'"), Ok(Schedule::default()));
        assert_eq!(read("name = 'cosine'\nwarmup_epochs = 2.5"), Ok(cosine(2.5, 0.0, 0.0)));
        for schedule in [Schedule::default(), cosine(1.0, 0.1, 0.01)] {
            assert_eq!(read(&toml::to_string(&schedule).unwrap()), Ok(schedule));
        }
        for (text, expected) in [
            ("name = 'constant'\nwarmup_epochs = 1", "unknown field `warmup_epochs`"),
            ("name = 'cosine'\nwarmup = 1", "unknown field `warmup`"),
            ("name = 'step'", "unknown variant `step`, expected `constant` or `cosine`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn settings_that_cannot_train_are_errors() {
        cosine(9.5, 0.0, 0.0).validate(10).unwrap();
        for (schedule, expected) in [
            (
                cosine(10.0, 0.0, 0.0),
                "schedule.warmup_epochs = 10 cannot train; it must be at least 0 and below epochs = 10",
            ),
            (cosine(-1.0, 0.0, 0.0), "schedule.warmup_epochs = -1"),
            (cosine(f32::NAN, 0.0, 0.0), "schedule.warmup_epochs = NaN"),
            (cosine(1.0, -1.0, 0.0), "schedule.start_factor = -1"),
            (cosine(1.0, 0.0, f32::INFINITY), "schedule.final_factor = inf"),
        ] {
            let message = schedule.validate(10).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}

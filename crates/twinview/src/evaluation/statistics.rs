//! Results over several seeds.

use std::fmt;

/// The mean and spread of one figure over several runs; prints as `0.807 ± 0.002`.
///
/// `Display` shows three digits, or as many as the format's precision asks for, and no spread for one run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// How many runs.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The sample standard deviation (divisor n - 1); `None` for one run, which shows no spread.
    pub sd: Option<f64>,
}

impl Summary {
    /// The summary of `values`; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { n, mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }

    /// The summary of `values - baselines`, run by run; `None` when there are none or their numbers differ.
    ///
    /// Runs that share a seed share its luck, so the spread of their differences tells more about two arms
    /// than the two spreads do.
    pub fn of_differences(values: &[f64], baselines: &[f64]) -> Option<Self> {
        let differences: Vec<f64> = values.iter().zip(baselines).map(|(value, baseline)| value - baseline).collect();
        if values.len() == baselines.len() { Self::of(&differences) } else { None }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$}", self.mean)?;
        match self.sd {
            Some(sd) => write!(f, " ± {sd:.digits$}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_standard_deviation() {
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((summary.n, summary.mean), (8, 5.0));
        assert!((summary.sd.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn prints_as_the_reports_show_it() {
        let summary = Summary::of(&[0.805, 0.807, 0.809]).unwrap();
        assert_eq!(summary.to_string(), "0.807 ± 0.002");
        assert_eq!(format!("{summary:.1}"), "0.8 ± 0.0");
        assert_eq!(Summary::of(&[0.5]).unwrap().to_string(), "0.500");
    }

    #[test]
    fn differences_are_taken_run_by_run() {
        let gain = Summary::of_differences(&[0.9, 0.7, 0.8], &[0.8, 0.6, 0.7]).unwrap();
        assert!((gain.mean - 0.1).abs() < 1e-12 && gain.sd.unwrap() < 1e-12);
        assert_eq!(Summary::of_differences(&[0.9], &[0.8, 0.7]), None);
    }
}

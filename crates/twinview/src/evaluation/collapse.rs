//! Whether an encoder still tells its inputs apart.

/// How widely a batch of outputs is spread: 1 like a Gaussian in all directions, 0 when all are the same.
///
/// This is the mean over channels of the standard deviation of the l2-normalised outputs, times
/// sqrt(`dimension`), after Chen and He 2021, "Exploring Simple Siamese Representation Learning", section
/// 4.1 (there without the factor, so that 1/sqrt(d) is the value of spread outputs). The standard deviation
/// has the divisor n - 1, as `torch.std`. Outputs with a common offset, such as those of a ReLU, stay
/// well below 1 without having collapsed.
///
/// `outputs` is `[count, dimension]`, row by row. `None` with fewer than two rows, or when `dimension` is 0
/// or does not divide the length. Not finite when an output is not.
pub fn output_spread(outputs: &[f32], dimension: usize) -> Option<f64> {
    if dimension == 0 || !outputs.len().is_multiple_of(dimension) || outputs.len() < 2 * dimension {
        return None;
    }
    let count = (outputs.len() / dimension) as f64;
    // Welford's update, for exact small spreads about a large mean.
    let mut means = vec![0.0; dimension];
    let mut squares = vec![0.0; dimension];
    for (seen, row) in outputs.chunks_exact(dimension).enumerate() {
        let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let scale = 1.0 / norm.max(1e-12);
        for ((mean, square), &value) in means.iter_mut().zip(&mut squares).zip(row) {
            let value = f64::from(value) * scale;
            let step = value - *mean;
            *mean += step / (seen + 1) as f64;
            *square += step * (value - *mean);
        }
    }
    let deviations: f64 = squares.iter().map(|square| (square / (count - 1.0)).sqrt()).sum();
    Some(deviations / dimension as f64 * (dimension as f64).sqrt())
}

/// Watches [`output_spread`] during training and warns, once for each collapse.
#[derive(Clone, Debug, Default)]
pub struct CollapseMonitor {
    collapsed: bool,
}

impl CollapseMonitor {
    /// Below this spread the outputs count as collapsed. Healthy runs, those on rectified features too, stay
    /// several times higher; collapsed ones fall towards 0 by orders of magnitude.
    pub const COLLAPSED_BELOW: f64 = 0.1;
    /// Above this spread they count as recovered. The gap keeps a value that hovers at the limit from
    /// warning again and again.
    pub const RECOVERED_ABOVE: f64 = 0.2;

    /// A monitor that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the last spread was one of a collapsed encoder.
    pub fn is_collapsed(&self) -> bool {
        self.collapsed
    }

    /// Takes the spread after `epoch`; gives the warning to show when the outputs have just collapsed.
    pub fn observe(&mut self, epoch: u64, spread: f64) -> Option<String> {
        let was_collapsed = self.collapsed;
        let limit = if was_collapsed { Self::RECOVERED_ABOVE } else { Self::COLLAPSED_BELOW };
        self.collapsed = !spread.is_finite() || spread < limit;
        if was_collapsed || !self.collapsed {
            return None;
        }
        Some(if spread.is_finite() {
            format!(
                "epoch {epoch}: the encoder is collapsing: the spread of its outputs is {spread:.3} (1 is well spread, \
                 0 means the same output for every image; the limit is {}). A low loss says nothing now. Try a smaller \
                 learning rate, weaker augmentations or a larger batch, and check that the method's stop-gradient and \
                 predictor are in place",
                Self::COLLAPSED_BELOW
            )
        } else {
            format!(
                "epoch {epoch}: the encoder's outputs are no longer finite numbers: training has diverged. Start \
                 again from an earlier checkpoint with a smaller learning rate"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_pytorch() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/evaluation/spreads.json"));
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let outputs: Vec<f32> =
                case["outputs"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
            let spread = output_spread(&outputs, case["dimension"].as_u64().unwrap() as usize).unwrap();
            let expected = case["value"].as_f64().unwrap();
            assert!((spread - expected).abs() < 1e-9 * expected, "{}: {spread}, {expected}", case["name"]);
        }
    }

    #[test]
    fn equal_rows_have_no_spread_and_scale_does_not_matter() {
        assert_eq!(output_spread(&[3.0, 4.0, 3.0, 4.0], 2), Some(0.0));
        assert!(output_spread(&[3.0, 4.0, 6.0, 8.0], 2).unwrap() < 1e-12);
        assert!(output_spread(&[1.0, 0.0, f32::NAN, 0.0], 2).unwrap().is_nan());
        assert_eq!(output_spread(&[0.0; 6], 3), Some(0.0));
        for (outputs, dimension) in [(&[1.0; 4][..], 4), (&[1.0; 4], 0), (&[1.0; 5], 2), (&[], 2)] {
            assert_eq!(output_spread(outputs, dimension), None);
        }
    }

    #[test]
    fn warns_once_for_each_collapse() {
        let mut monitor = CollapseMonitor::new();
        let spreads = [0.9, 0.5, 0.09, 0.11, 0.05, 0.3, 0.15, 0.01];
        let warned: Vec<bool> = spreads
            .iter()
            .enumerate()
            .map(|(epoch, &spread)| monitor.observe(epoch as u64, spread).is_some())
            .collect();
        assert_eq!(warned, [false, false, true, false, false, false, false, true]);
        assert!(monitor.is_collapsed());
    }

    #[test]
    fn says_what_it_means() {
        let warning = CollapseMonitor::new().observe(3, 0.02).unwrap();
        assert!(warning.contains("epoch 3") && warning.contains("0.020") && warning.contains("learning rate"));
        assert!(CollapseMonitor::new().observe(3, f64::NAN).unwrap().contains("no longer finite"));
    }
}

//! The low-dimensional similarity curve of UMAP.

/// `1 / (1 + a d^(2b))`: how similar two points at distance `d` of the map count (McInnes et al. 2018, §4.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) a: f64,
    pub(super) b: f64,
}

impl Curve {
    /// The least-squares fit to 1 up to `min_dist` and `exp(-(d - min_dist) / spread)` beyond, at 300
    /// distances in `0..=3 spread`, by the Levenberg-Marquardt method.
    pub(super) fn fit(spread: f64, min_dist: f64) -> Self {
        let points: Vec<(f64, f64)> = (0..300)
            .map(|step| 3.0 * spread * f64::from(step) / 299.0)
            .map(|x| (x, if x < min_dist { 1.0 } else { (-(x - min_dist) / spread).exp() }))
            .collect();
        let mut curve = Self { a: 1.0, b: 1.0 };
        let mut error = curve.squared_error(&points);
        let mut damping = 1e-3;
        for _ in 0..200 {
            // The normal equations of the linearised problem.
            let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for &(x, y) in points.iter().filter(|point| point.0 > 0.0) {
                let power = x.powf(2.0 * curve.b);
                let value = 1.0 / (1.0 + curve.a * power);
                let by_a = -value * value * power;
                let by_b = 2.0 * curve.a * x.ln() * by_a;
                let residual = value - y;
                aa += by_a * by_a;
                ab += by_a * by_b;
                bb += by_b * by_b;
                ga += by_a * residual;
                gb += by_b * residual;
            }
            let (damped_aa, damped_bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let determinant = damped_aa * damped_bb - ab * ab;
            let next = Self {
                a: curve.a - (damped_bb * ga - ab * gb) / determinant,
                b: curve.b - (damped_aa * gb - ab * ga) / determinant,
            };
            let next_error = next.squared_error(&points);
            if next.a > 0.0 && next.b > 0.0 && next_error <= error {
                (curve, error, damping) = (next, next_error, damping / 10.0);
            } else {
                damping *= 10.0;
            }
            if damping > 1e12 {
                break;
            }
        }
        curve
    }

    fn squared_error(self, points: &[(f64, f64)]) -> f64 {
        points.iter().map(|&(x, y)| (1.0 / (1.0 + self.a * x.powf(2.0 * self.b)) - y).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden_numbers;
    use super::*;

    #[test]
    fn agrees_with_umap_learn() {
        let cases = golden_numbers("curve");
        assert_eq!(cases.len(), 7);
        for case in cases {
            let [spread, min_dist, a, b] = case[..] else { panic!("{case:?}") };
            let curve = Curve::fit(spread, min_dist);
            assert!((curve.a - a).abs() < 1e-5 && (curve.b - b).abs() < 1e-5, "{case:?}: {curve:?}");
        }
    }
}

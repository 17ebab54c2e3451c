//! A smooth function's minimum by L-BFGS (Liu and Nocedal 1989, "On the limited memory BFGS method for large scale
//! optimization").

use std::collections::VecDeque;

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;
/// Trial steps along one direction before it is given up.
const TRIALS: usize = 30;
/// The Wolfe conditions: what share of the promised decrease must come, and what share of the slope may remain.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Differences of the value that may be rounding, since its parts are f32: of values below 1 in absolute terms, as
/// they are differences of larger numbers.
const ROUNDING: f64 = 1e-7;
/// A fall of the value that counts as one, and the steps without any after which the search ends.
const FALL: f64 = 1e-10;
const PATIENCE: usize = 10;

/// Where the search ended.
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) value: f64,
    pub(super) iterations: usize,
    /// Whether no entry of the gradient exceeds the tolerance, or the value does not fall any more.
    pub(super) converged: bool,
}

/// A point with its value and gradient.
struct Place {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step and how the gradient changed by it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// Their inner product, above 0.
    product: f64,
}

/// Walks down from `start`; `objective(point, gradient)` gives the value and writes the gradient.
pub(super) fn minimise(
    objective: impl Fn(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    tolerance: f64,
    max_iterations: usize,
) -> Minimum {
    let at = |point: Vec<f64>| {
        let mut gradient = vec![0.0; point.len()];
        let value = objective(&point, &mut gradient);
        Place { point, value, gradient }
    };
    let mut here = at(start);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut iterations = 0;
    let (mut lowest, mut without_fall) = (here.value, 0);
    loop {
        let converged = here.gradient.iter().all(|entry| entry.abs() <= tolerance) || without_fall == PATIENCE;
        if converged || iterations == max_iterations {
            return Minimum { point: here.point, value: here.value, iterations, converged };
        }
        let direction = downhill(&here.gradient, &pairs);
        let first = if pairs.is_empty() { 1.0 / dot(&direction, &direction).sqrt() } else { 1.0 };
        let Some(there) = search_line(at, &here, &direction, first) else {
            // Rounding can spoil what is remembered. Where even the gradient leads nowhere, it is all rounding.
            if pairs.is_empty() {
                return Minimum { point: here.point, value: here.value, iterations, converged };
            }
            pairs.clear();
            continue;
        };
        let difference = |new: &[f64], old: &[f64]| new.iter().zip(old).map(|(new, old)| new - old).collect();
        let step: Vec<f64> = difference(&there.point, &here.point);
        let change: Vec<f64> = difference(&there.gradient, &here.gradient);
        let product = dot(&step, &change);
        if product > f64::EPSILON * dot(&change, &change) {
            pairs.truncate(MEMORY - 1);
            pairs.push_front(Pair { step, change, product });
        }
        if there.value < lowest - FALL * lowest.abs().max(1.0) {
            (lowest, without_fall) = (there.value, 0);
        } else {
            without_fall += 1;
        }
        here = there;
        iterations += 1;
    }
}

/// The direction of the next step: minus the gradient, turned and scaled by what the pairs, newest first, tell of the
/// curvature.
fn downhill(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let along: Vec<f64> = pairs
        .iter()
        .map(|pair| {
            let along = dot(&pair.step, &direction) / pair.product;
            add_scaled(&mut direction, -along, &pair.change);
            along
        })
        .collect();
    if let Some(newest) = pairs.front() {
        let scale = newest.product / dot(&newest.change, &newest.change);
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for (pair, along) in pairs.iter().zip(along).rev() {
        let back = dot(&pair.change, &direction) / pair.product;
        add_scaled(&mut direction, along - back, &pair.step);
    }
    direction
}

/// A place along `direction` that meets the strong Wolfe conditions; `None` when none is found.
///
/// Near the minimum, where differences of the value are rounding, its decrease is judged by the slopes alone (Hager
/// and Zhang 2005, "A new conjugate gradient method with guaranteed descent and an efficient line search").
fn search_line(at: impl Fn(Vec<f64>) -> Place, here: &Place, direction: &[f64], first: f64) -> Option<Place> {
    let slope = dot(&here.gradient, direction);
    if slope.is_nan() || slope >= 0.0 {
        return None;
    }
    let (mut low, mut high) = ((0.0, slope), None);
    let mut length = first;
    for _ in 0..TRIALS {
        let mut point = here.point.clone();
        add_scaled(&mut point, length, direction);
        let there = at(point);
        let new_slope = dot(&there.gradient, direction);
        let decreased = there.value <= here.value + DECREASE * length * slope
            || (there.value <= here.value + ROUNDING * here.value.abs().max(1.0)
                && new_slope <= (2.0 * DECREASE - 1.0) * slope);
        if there.value.is_finite() && decreased && new_slope.abs() <= CURVATURE * slope.abs() {
            return Some(there);
        }
        if there.value.is_finite() && decreased && new_slope < 0.0 {
            low = (length, new_slope);
        } else {
            high = Some((length, new_slope));
        }
        // Where the slope would be 0 if it changed evenly, kept away from the ends.
        length = match high {
            Some((end, end_slope)) => {
                let share = low.1 / (low.1 - end_slope);
                low.0 + (end - low.0) * if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.1 }
            }
            None => length * (slope / (slope - new_slope)).clamp(2.0, 10.0),
        };
    }
    None
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    // Eight sums side by side let the compiler use vector instructions without changing the order.
    let mut sums = [0.0; 8];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (x, y) in left.iter().zip(right) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    sums.iter().sum::<f64>() + left_rest.iter().zip(right_rest).map(|(x, y)| x * y).sum::<f64>()
}

fn add_scaled(target: &mut [f64], factor: f64, source: &[f64]) {
    target.iter_mut().zip(source).for_each(|(target, source)| *target += factor * source);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley: curved, badly scaled, its minimum 0 at (1, 1, ...).
    fn rosenbrock(point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        for index in 0..point.len() - 1 {
            let (x, y) = (point[index], point[index + 1]);
            value += 100.0 * (y - x * x).powi(2) + (1.0 - x).powi(2);
            gradient[index] += -400.0 * x * (y - x * x) - 2.0 * (1.0 - x);
            gradient[index + 1] += 200.0 * (y - x * x);
        }
        value
    }

    #[test]
    fn finds_the_end_of_a_curved_valley() {
        let minimum = minimise(rosenbrock, [-1.2, 1.0].repeat(5), 1e-8, 200);
        assert!(minimum.converged && minimum.iterations < 120, "{}", minimum.iterations);
        assert!(minimum.value < 1e-15);
        assert!(minimum.point.iter().all(|entry| (entry - 1.0).abs() < 1e-7), "{:?}", minimum.point);
    }

    #[test]
    fn says_when_it_was_stopped() {
        let minimum = minimise(rosenbrock, vec![-1.2, 1.0], 1e-8, 3);
        assert!(!minimum.converged && minimum.iterations == 3);
        let minimum = minimise(rosenbrock, vec![1.0, 1.0], 1e-8, 3);
        assert!(minimum.converged && minimum.iterations == 0);
    }

    #[test]
    fn survives_a_value_that_overflows() {
        // Finite only below 1: the first long steps must be shortened.
        let barrier = |point: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0 / (1.0 - point[0]) - 100.0;
            -(1.0 - point[0]).ln() - 100.0 * point[0]
        };
        let minimum = minimise(barrier, vec![0.0], 1e-6, 100);
        assert!(minimum.converged && (minimum.point[0] - 0.99).abs() < 1e-8, "{}", minimum.point[0]);
    }
}

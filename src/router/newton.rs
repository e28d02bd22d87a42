//! Newton's method for a few weights and a convex loss.

use crate::error::{Error, ErrorKind, Result};

/// Beyond so many steps it has not converged.
// Source: units: bounds the work; five to eight steps are usual.
const MOST_STEPS: usize = 50;
/// A step that moves no weight further than this is the last.
// Source: units: below the last bit of a weight of f32.
const TOLERANCE: f64 = 1e-6;
/// A step is halved at most so often.
// Source: units: a step of 2^-30 moves no f32.
const MOST_HALVINGS: usize = 30;

/// Where the loss is least, from `start` on. `at` tells its slope and its curvature, which is positive definite.
///
/// # Errors
/// [`ErrorKind::Diverged`]: the slope is no number, or fifty steps do not reach the valley, which a convex loss of finite numbers
/// never needs.
pub(super) fn newton<const N: usize>(
    start: [f64; N],
    at: impl Fn(&[f64; N]) -> ([f64; N], [[f64; N]; N]),
) -> Result<[f64; N]> {
    let mut weights = start;
    let (mut slope, mut curvature) = at(&weights);
    let mut largest = f64::NAN;
    for _ in 0..MOST_STEPS {
        let step = solve(curvature, slope);
        largest = step
            .iter()
            .fold(0.0, |largest: f64, step| if step.is_nan() { f64::NAN } else { largest.max(step.abs()) });
        if !largest.is_finite() {
            break;
        }
        let moved = |length: f64| std::array::from_fn(|i| weights[i] - length * step[i]);
        if largest < TOLERANCE {
            return Ok(moved(1.0));
        }
        // Far away, the curvature is that of another place.
        let mut length = (1.0 / largest).min(1.0);
        let downhill =
            |slope: &[f64; N]| slope.iter().zip(&step).map(|(slope, step)| slope * step).sum::<f64>();
        let before = downhill(&slope);
        let mut next = moved(length);
        (slope, curvature) = at(&next);
        // Beyond the valley the loss rises: a step that ends where it rises as steeply as it fell came no nearer.
        for _ in 0..MOST_HALVINGS {
            if downhill(&slope) > -0.9 * before {
                break;
            }
            length /= 2.0;
            next = moved(length);
            (slope, curvature) = at(&next);
        }
        weights = next;
    }
    let message = format!(
        "the router's weights did not converge: after {MOST_STEPS} steps the next would move one by {largest:.1e}"
    );
    Err(Error::new(ErrorKind::Diverged, message)
        .next_step("look for scores of an expert that are no numbers, or thousands of nats apart"))
}

/// Solves `matrix * x = right` for a positive definite matrix, by elimination.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> [f64; N] {
    for pivot in 0..N {
        let above = matrix[pivot];
        for row in pivot + 1..N {
            let factor = matrix[row][pivot] / above[pivot];
            matrix[row].iter_mut().zip(above).for_each(|(cell, above)| *cell -= factor * above);
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solved_system_by_hand() {
        let x = solve([[4.0, 1.0], [1.0, 3.0]], [1.0, 2.0]);
        assert!((x[0] - 1.0 / 11.0).abs() < 1e-12 && (x[1] - 7.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn the_valley_of_a_convex_loss() {
        // x^4 / 4 - 2 x + (y - x)^2
        let slope = |[x, y]: [f64; 2]| [x.powi(3) - 2.0 - 2.0 * (y - x), 2.0 * (y - x)];
        let found = newton([9.0, -9.0], |&[x, y]| (slope([x, y]), [[3.0 * x * x + 2.0, -2.0], [-2.0, 2.0]]));
        assert!(found.unwrap().iter().all(|at| (at - 2.0_f64.cbrt()).abs() < 1e-6));
    }

    #[test]
    fn steps_that_leap_over_the_valley_are_halved() {
        // ln cosh x: from 0.95, whole steps of at most 1 leap from side to side; from 1.2 on, without that limit, away for
        // good.
        for start in [0.5, 0.95, 1.0885, 1.2, 3.0, -7.0] {
            let found = newton([start], |&[x]| ([x.tanh()], [[1.0 - x.tanh().powi(2)]]));
            assert!(found.unwrap()[0].abs() < 1e-5, "{start}");
        }
    }

    #[test]
    fn what_does_not_converge_is_said() {
        type Slope = fn(f64) -> f64;
        let cases: [(&str, Slope); 3] =
            // No valley; a slope that is no number; one that jumps.
            [("1.0e0", |_| 1.0), ("NaN", |_| f64::NAN), ("1.0e0", |x| if x > 0.5 { 1.0 } else { -1.0 })];
        for (says, slope) in cases {
            let error = newton([0.0], |&[x]| ([slope(x)], [[1.0]])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Diverged);
            assert!(error.to_string().contains(says) && error.to_string().contains("; look for"), "{error}");
        }
    }
}

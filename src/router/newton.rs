//! Newton's method for a few weights and a convex loss.

const MOST_STEPS: usize = 50;

/// Where the loss is least, from `start` on. `at` tells its slope and its curvature, which is positive definite.
pub(super) fn newton<const N: usize>(
    start: [f64; N],
    at: impl Fn(&[f64; N]) -> ([f64; N], [[f64; N]; N]),
) -> [f64; N] {
    let mut weights = start;
    for _ in 0..MOST_STEPS {
        let (slope, curvature) = at(&weights);
        let step = solve(curvature, slope);
        let largest = step.iter().fold(0.0_f64, |largest, step| largest.max(step.abs()));
        // Far away, the curvature is that of another place.
        let damping = (1.0 / largest).min(1.0);
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= damping * step);
        if largest < 1e-6 {
            break;
        }
    }
    weights
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
        assert!(found.iter().all(|at| (at - 2.0_f64.cbrt()).abs() < 1e-6), "{found:?}");
    }
}

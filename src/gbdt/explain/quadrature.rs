//! Integrals of polynomials, exact by Gauss-Legendre quadrature.

use std::f64::consts::PI;

/// `points` places in `[0, 1]` and their weights: the weighted sum of the values there of a polynomial of degree up to
/// `2 * points - 1` is its integral.
pub(super) fn gauss_legendre(points: usize) -> Vec<(f64, f64)> {
    let place = |index: usize| {
        // Close to a root of the Legendre polynomial; Newton's steps double the digits.
        let mut root = (PI * (index as f64 + 0.75) / (points as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..6 {
            let value;
            (value, slope) = legendre(points, root);
            root -= value / slope;
        }
        ((1.0 - root) / 2.0, 1.0 / ((1.0 - root * root) * slope * slope))
    };
    (0..points).map(place).collect()
}

/// The Legendre polynomial of `degree` at `x`, and its slope.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (0.0, 1.0);
    for n in 1..=degree {
        let n = n as f64;
        (before, value) = (value, ((2.0 * n - 1.0) * x * value - (n - 1.0) * before) / n);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_integrate_exactly() {
        for points in [1, 2, 3, 4, 7, 20, 64] {
            let rule = gauss_legendre(points);
            assert!(rule.iter().all(|&(t, weight)| t > 0.0 && t < 1.0 && weight > 0.0), "{rule:?}");
            for power in 0..2 * points as i32 {
                let found: f64 = rule.iter().map(|(t, weight)| weight * t.powi(power)).sum();
                let expected = 1.0 / f64::from(power + 1);
                assert!((found - expected).abs() < 1e-14, "{points} points, t^{power}: {found}");
            }
        }
    }
}

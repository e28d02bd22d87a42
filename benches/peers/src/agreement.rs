//! How far answers are apart.

/// The largest difference. Infinite for what is no number, or for lists of different lengths: neither may pass as
/// close.
pub fn largest_difference(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::INFINITY;
    }
    let differences = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    differences.map(|d| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_no_agreement() {
        let cases: [(&[f32], &[f32], f64); 5] = [
            (&[1.0, 2.0], &[1.5, 2.0], 0.5),
            (&[], &[], 0.0),
            (&[f32::NAN, 1.0], &[0.0, 1.0], f64::INFINITY),
            (&[1.0, 0.0], &[1.0, f32::NAN], f64::INFINITY),
            (&[1.0], &[1.0, 1.0], f64::INFINITY),
        ];
        for (ours, theirs, expected) in cases {
            assert_eq!(largest_difference(ours, theirs), expected, "{ours:?} {theirs:?}");
        }
    }
}

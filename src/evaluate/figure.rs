//! A figure as the reports print it.

/// `value` with so many decimals; what rounds to zero, of either sign, without one: the bound's own regret is zero within
/// rounding.
pub(super) fn figure(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(positive) if positive.bytes().all(|byte| b"0.".contains(&byte)) => positive.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign() {
        for (value, decimals, expected) in [
            (-0.0, 3, "0.000"),
            (-4e-4, 3, "0.000"),
            (-4e-4, 4, "-0.0004"),
            (-6e-4, 3, "-0.001"),
            (0.5, 3, "0.500"),
            (f64::NAN, 3, "NaN"),
        ] {
            assert_eq!(figure(value, decimals), expected, "{value}");
        }
    }
}

//! The functions through which features are computed, with the same result to the last bit on every machine.
//!
//! Those of the standard library (`f32::ln`) call the C library of the platform, and the last bit of what Linux, Android
//! and Windows answer differs; a quantized model, whose own sums are exact, would then answer otherwise on one phone than
//! on another. Additions, divisions and square roots are exact by IEEE 754 and need no such care.

pub(crate) use libm::{cosf as cos, exp2f as exp2, expf as exp, log1pf as ln_1p, logf as ln, sinf as sin};

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Case {
        name: &'static str,
        ours: fn(f32) -> f32,
        exact: fn(f64) -> f64,
        /// What features ask of it.
        domain: [f32; 2],
        /// All answers in one number: found alike on x86-64, i686 and AArch64.
        checksum: u64,
    }

    const CASES: [Case; 6] = [
        Case { name: "ln", ours: ln, exact: f64::ln, domain: [1e-4, 1e4], checksum: 0xf98c_1f07_c36a_e302 },
        Case {
            name: "ln_1p",
            ours: ln_1p,
            exact: f64::ln_1p,
            domain: [0.0, 1e9],
            checksum: 0xbd8d_c397_2db8_d101,
        },
        // Of the ages of what is forgotten: halved, halved again, and so on.
        Case {
            name: "exp2",
            ours: |age| exp2(-age),
            exact: |age| (-age).exp2(),
            domain: [0.0, 150.0],
            checksum: 0xa576_db28_fc2c_7d9a,
        },
        // Of log-probabilities.
        Case {
            name: "exp",
            ours: |ln| exp(-ln),
            exact: |ln| (-ln).exp(),
            domain: [0.0, 80.0],
            checksum: 0x70f9_4770_0665_20c9,
        },
        Case {
            name: "sin",
            ours: sin,
            exact: f64::sin,
            domain: [0.0, 26.0],
            checksum: 0x5d30_7eb0_a887_055b,
        },
        Case {
            name: "cos",
            ours: cos,
            exact: f64::cos,
            domain: [0.0, 26.0],
            checksum: 0xd8ff_c87d_3767_cf23,
        },
    ];

    /// Numbers from one end to the other, as many between any two powers of two.
    fn sweep([from, to]: [f32; 2]) -> impl Iterator<Item = f32> {
        (from.to_bits()..=to.to_bits()).step_by(9_973).map(f32::from_bits)
    }

    #[test]
    fn every_machine_gives_the_same_bits() {
        for Case { name, ours, domain, checksum, .. } in CASES {
            // FNV-1a, a word at a time.
            let found = sweep(domain).fold(0xcbf2_9ce4_8422_2325_u64, |hash, x| {
                (hash ^ u64::from(ours(x).to_bits())).wrapping_mul(0x0100_0000_01b3)
            });
            assert_eq!(found, checksum, "{name}: {found:#x}");
        }
    }

    #[test]
    fn answers_are_right_to_the_last_bit_or_so() {
        for Case { name, ours, exact, domain, .. } in CASES {
            for x in sweep(domain) {
                let (found, exact) = (ours(x), exact(f64::from(x)));
                let nearest = exact as f32;
                let last_bit = f64::from(nearest.abs().next_up() - nearest.abs());
                assert!((f64::from(found) - exact).abs() <= last_bit, "{name}({x}) is {found}, not {exact}");
            }
        }
    }

    /// No feature goes round this file.
    #[test]
    fn nothing_here_calls_the_platform() {
        let functions =
            ["ln", "ln_1p", "log2", "log10", "exp", "exp2", "exp_m1", "powf", "powi", "sin", "cos", "tanh"];
        let entries =
            ["src/context/history", "src/context"].into_iter().flat_map(|f| fs::read_dir(f).unwrap());
        for file in entries.map(|entry| entry.unwrap().path()) {
            if file.ends_with("math.rs") || file.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for name in functions {
                let is_called = [format!(".{name}("), format!("f32::{name}"), format!("f64::{name}")]
                    .iter()
                    .any(|call| text.contains(call));
                assert!(!is_called, "{} calls `{name}`: take it from `math`", file.display());
            }
        }
    }
}

//! Integer products, in the widest instructions that the machine has.
//!
//! The formula, for rows of unsigned bytes and a matrix of signed ones:
//!
//! ```text
//! sums[row][out] = sum over k of (bytes[row][k] - zero) * matrix[k][out]          in i32
//! ```
//!
//! Integers have one sum in any order, and no path saturates, so all paths return the same bits:
//!
//! | path | instructions | multiplications a step |
//! | --- | --- | --- |
//! | plain | none: the reference, and what other machines run | 1 |
//! | AVX2 | bytes widened to 16 bits, `vpmaddwd`. Not `vpmaddubsw`: 2 x 255 x 127 overflows its 16 bits | 16 |
//! | AVX-512 VNNI | `vpdpbusd`, four bytes at a time into 32 bits | 64 |
//! | NEON | bytes widened to 16 bits, `smlal` | 4 |
//!
//! What happens in floating point between them is [`float`](super::float)'s.

#![allow(unsafe_code)] // only here: a processor's own instructions cannot be had without

use fearless_simd::Level;

/// Numbers that are computed side by side: rows and matrices are padded to a multiple, both ways.
pub const LANES: usize = 16;

/// Inputs that one instruction takes together.
const GROUP: usize = 4;

/// A way to compute. All ways give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Path);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kernel {
    /// The reference: no instructions that a machine might lack.
    pub const PLAIN: Self = Self(Path::Plain);

    /// The fastest that this machine can run.
    pub fn detect() -> Self {
        Self::all().pop().unwrap_or(Self::PLAIN)
    }

    /// All that this machine can run, the plain one first and the fastest last.
    pub fn all() -> Vec<Self> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut all = vec![Self::PLAIN];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Path::Avx2));
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(Self(Path::Avx512Vnni));
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self(Path::Neon));
        all
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "aarch64")]
            Path::Neon => "NEON",
        }
    }

    /// The vectors for what is done in floating point.
    pub(super) fn level(self) -> Level {
        match self.0 {
            Path::Plain => Level::baseline(),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => Level::new().as_avx2().map_or(Level::baseline(), Level::Avx2),
            _ => Level::new(),
        }
    }

    /// The products of `rows` with `matrix`: see the formula above.
    ///
    /// # Shapes
    /// `rows`: `[n, matrix.inputs]` bytes; `sums`: `[n, matrix.outputs]`.
    pub fn multiply(self, rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let n = sums.len() / matrix.outputs;
        assert!(rows.len() == n * matrix.inputs && sums.len() == n * matrix.outputs, "rows of another width");
        match self.0 {
            Path::Plain => plain::multiply(rows, matrix, sums),
            // SAFETY: `all`, the only maker of this path, has found the instructions on this machine.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { x86::multiply_avx2(rows, matrix, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni => unsafe { x86::multiply_avx512(rows, matrix, sums) },
            #[cfg(target_arch = "aarch64")]
            Path::Neon => neon::multiply(rows, matrix, sums),
        }
    }
}

/// A matrix of signed bytes, laid out for [`Kernel::multiply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Rows of the matrix: a multiple of [`LANES`].
    inputs: usize,
    /// Columns: a multiple of [`LANES`].
    outputs: usize,
    /// `[inputs / GROUP, outputs, GROUP]`: what one instruction reads stands together.
    values: Vec<i8>,
    /// `[outputs]`: what the zero of the bytes adds, to begin with.
    start: Vec<i32>,
}

impl Packed {
    /// Packs a matrix for bytes that mean `byte - zero`. What pads it is zero.
    ///
    /// # Shapes
    /// `matrix`: `[inputs, outputs]`, row by row.
    pub fn new(matrix: &[i8], outputs: usize, zero: u8) -> Self {
        let inputs = matrix.len() / outputs.max(1);
        let (padded_inputs, padded_outputs) =
            (inputs.next_multiple_of(LANES), outputs.next_multiple_of(LANES));
        let mut values = vec![0; padded_inputs * padded_outputs];
        let mut start = vec![0; padded_outputs];
        for (k, row) in matrix.chunks_exact(outputs.max(1)).enumerate() {
            for (out, &value) in row.iter().enumerate() {
                values[(k / GROUP * padded_outputs + out) * GROUP + k % GROUP] = value;
                start[out] -= i32::from(zero) * i32::from(value);
            }
        }
        Self { inputs: padded_inputs, outputs: padded_outputs, values, start }
    }

    /// Bytes a row, padding included. What the padding bytes are does not matter.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Sums a row, padding included.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

mod plain {
    use super::{GROUP, LANES, Packed};

    /// Sixteen sums at a time, four inputs after four.
    #[inline(always)]
    pub fn multiply(rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        for (row, sums) in rows.chunks_exact(inputs).zip(sums.chunks_exact_mut(outputs)) {
            sums.copy_from_slice(&matrix.start);
            for (four, group) in row.chunks_exact(GROUP).zip(matrix.values.chunks_exact(outputs * GROUP)) {
                let (sums, _) = sums.as_chunks_mut::<LANES>();
                for (sums, values) in sums.iter_mut().zip(group.chunks_exact(LANES * GROUP)) {
                    for (sum, values) in sums.iter_mut().zip(values.chunks_exact(GROUP)) {
                        for (&byte, &value) in four.iter().zip(values) {
                            *sum += i32::from(byte) * i32::from(value);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUP, LANES, Packed};

    /// Four rows at a time, so that each load of the matrix serves four, and 64 outputs: sixteen sums in registers.
    ///
    /// # Safety
    /// The machine has these parts of AVX-512. `rows` and `sums` are as [`Kernel::multiply`](super::Kernel::multiply)
    /// asserts.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub unsafe fn multiply_avx512(rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        let (fours, rest) = rows.split_at(rows.len() / (4 * inputs) * 4 * inputs);
        let (sums, rest_sums) = sums.split_at_mut(rows.len() / (4 * inputs) * 4 * outputs);
        for (rows, sums) in fours.chunks_exact(4 * inputs).zip(sums.chunks_exact_mut(4 * outputs)) {
            of_outputs::<4>(rows, matrix, sums);
        }
        for (row, sums) in rest.chunks_exact(inputs).zip(rest_sums.chunks_exact_mut(outputs)) {
            of_outputs::<1>(row, matrix, sums);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of_outputs<const ROWS: usize>(rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let mut first = 0;
        while first < matrix.outputs {
            match (matrix.outputs - first) / LANES {
                0 => return,
                1 => first = tile::<ROWS, 1>(rows, matrix, first, sums),
                2 | 3 => first = tile::<ROWS, 2>(rows, matrix, first, sums),
                _ => first = tile::<ROWS, 4>(rows, matrix, first, sums),
            }
        }
    }

    /// `ROWS` rows by `VECTORS` times sixteen outputs from `first` on; returns the next output.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn tile<const ROWS: usize, const VECTORS: usize>(
        rows: &[u8],
        matrix: &Packed,
        first: usize,
        sums: &mut [i32],
    ) -> usize {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        // What the loads and stores below rely on.
        assert!(rows.len() == ROWS * inputs && sums.len() == ROWS * outputs);
        assert!(inputs.is_multiple_of(GROUP) && first + VECTORS * LANES <= outputs);
        assert!(matrix.values.len() == inputs * outputs && matrix.start.len() == outputs);
        let mut tile = [[_mm512_setzero_si512(); VECTORS]; ROWS];
        for (vector, start) in matrix.start[first..].chunks_exact(LANES).take(VECTORS).enumerate() {
            // SAFETY: sixteen i32 are 64 bytes.
            let start = unsafe { _mm512_loadu_si512(start.as_ptr().cast()) };
            tile.iter_mut().for_each(|row| row[vector] = start);
        }
        for group in 0..inputs / GROUP {
            let mut values = [_mm512_setzero_si512(); VECTORS];
            for (vector, values) in values.iter_mut().enumerate() {
                let at = (group * outputs + first + vector * LANES) * GROUP;
                // SAFETY: 64 bytes from `at` on lie in `values`, as asserted.
                *values = unsafe { _mm512_loadu_si512(matrix.values.as_ptr().add(at).cast()) };
            }
            for (row, sums) in tile.iter_mut().enumerate() {
                // SAFETY: four bytes from there on lie in `rows`, as asserted.
                let four: i32 =
                    unsafe { rows.as_ptr().add(row * inputs + group * GROUP).cast::<i32>().read_unaligned() };
                let four = _mm512_set1_epi32(four);
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = _mm512_dpbusd_epi32(*sum, four, values);
                }
            }
        }
        for (row, tile) in tile.iter().enumerate() {
            for (vector, sum) in tile.iter().enumerate() {
                let at = row * outputs + first + vector * LANES;
                // SAFETY: sixteen sums from `at` on lie in `sums`, as asserted.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().add(at).cast(), *sum) };
            }
        }
        first + VECTORS * LANES
    }

    /// Two rows at a time and sixteen outputs: two vectors of four outputs each hold sums of pairs, added up at the end.
    ///
    /// # Safety
    /// The machine has AVX2. `rows` and `sums` are as [`Kernel::multiply`](super::Kernel::multiply) asserts.
    #[target_feature(enable = "avx2")]
    pub unsafe fn multiply_avx2(rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        assert!(matrix.values.len() == inputs * outputs && matrix.start.len() == outputs);
        for (row, sums) in rows.chunks_exact(inputs).zip(sums.chunks_exact_mut(outputs)) {
            for first in (0..outputs).step_by(LANES) {
                // Sums of two products each: outputs 0 to 3, 4 to 7, 8 to 11 and 12 to 15.
                let mut pairs = [_mm256_setzero_si256(); 4];
                for (group, four) in row.as_chunks::<GROUP>().0.iter().enumerate() {
                    let four = _mm256_cvtepu8_epi16(_mm_set1_epi32(i32::from_le_bytes(*four)));
                    for (part, pairs) in pairs.iter_mut().enumerate() {
                        let at = (group * outputs + first + part * 4) * GROUP;
                        let values = &matrix.values[at..at + 4 * GROUP];
                        // SAFETY: sixteen i8 are 16 bytes.
                        let values = unsafe { _mm_loadu_si128(values.as_ptr().cast()) };
                        let products = _mm256_madd_epi16(four, _mm256_cvtepi8_epi16(values));
                        *pairs = _mm256_add_epi32(*pairs, products);
                    }
                }
                for half in 0..2 {
                    let at = first + half * 8;
                    // Within each half of 128 bits: outputs 0 1 4 5 and 2 3 6 7.
                    let added = _mm256_hadd_epi32(pairs[2 * half], pairs[2 * half + 1]);
                    let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
                    let (start, sums) = (&matrix.start[at..at + 8], &mut sums[at..at + 8]);
                    // SAFETY: eight i32 are 32 bytes, in both lists.
                    unsafe {
                        let start = _mm256_loadu_si256(start.as_ptr().cast());
                        _mm256_storeu_si256(sums.as_mut_ptr().cast(), _mm256_add_epi32(ordered, start));
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{GROUP, LANES, Packed};

    /// One row and sixteen outputs: in each vector the four products of one output, added up at the end.
    pub fn multiply(rows: &[u8], matrix: &Packed, sums: &mut [i32]) {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        assert!(matrix.values.len() == inputs * outputs && matrix.start.len() == outputs);
        for (row, sums) in rows.chunks_exact(inputs).zip(sums.chunks_exact_mut(outputs)) {
            for first in (0..outputs).step_by(LANES) {
                // SAFETY: the architecture has these instructions; slices bound every load and store.
                unsafe {
                    let mut products = [vdupq_n_s32(0); LANES];
                    for (group, four) in row.as_chunks::<GROUP>().0.iter().enumerate() {
                        let four = vdup_n_u32(u32::from_le_bytes(*four));
                        let four = vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(four))));
                        let at = (group * outputs + first) * GROUP;
                        let values = &matrix.values[at..at + LANES * GROUP];
                        for (part, values) in values.chunks_exact(16).enumerate() {
                            let values = vld1q_s8(values.as_ptr());
                            let (low, high) = (vmovl_s8(vget_low_s8(values)), vmovl_high_s8(values));
                            let products = &mut products[part * 4..part * 4 + 4];
                            products[0] = vmlal_s16(products[0], four, vget_low_s16(low));
                            products[1] = vmlal_s16(products[1], four, vget_high_s16(low));
                            products[2] = vmlal_s16(products[2], four, vget_low_s16(high));
                            products[3] = vmlal_s16(products[3], four, vget_high_s16(high));
                        }
                    }
                    for (part, products) in products.chunks_exact(4).enumerate() {
                        let at = first + part * 4;
                        let added = vpaddq_s32(
                            vpaddq_s32(products[0], products[1]),
                            vpaddq_s32(products[2], products[3]),
                        );
                        let (start, sums) = (&matrix.start[at..at + 4], &mut sums[at..at + 4]);
                        vst1q_s32(sums.as_mut_ptr(), vaddq_s32(added, vld1q_s32(start.as_ptr())));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The formula, as it is written.
    fn by_hand(rows: &[u8], matrix: &[i8], inputs: usize, outputs: usize, zero: u8) -> Vec<i32> {
        let row = |row: &[u8], out: usize| -> i32 {
            let term = |(k, &byte): (usize, &u8)| {
                (i32::from(byte) - i32::from(zero)) * i32::from(matrix[k * outputs + out])
            };
            row.iter().enumerate().map(term).sum()
        };
        rows.chunks_exact(inputs).flat_map(|bytes| (0..outputs).map(move |out| row(bytes, out))).collect()
    }

    /// Rows with arbitrary bytes where they are padded.
    fn padded(rows: &[u8], inputs: usize, to: usize) -> Vec<u8> {
        rows.chunks_exact(inputs)
            .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(77, to - inputs)))
            .collect()
    }

    fn check(rows: &[u8], matrix: &[i8], inputs: usize, outputs: usize, zero: u8) {
        let n = rows.len() / inputs;
        let packed = Packed::new(matrix, outputs, zero);
        let expected = by_hand(rows, matrix, inputs, outputs, zero);
        let rows = padded(rows, inputs, packed.inputs());
        for kernel in Kernel::all() {
            let mut sums = vec![i32::MIN; n * packed.outputs()];
            kernel.multiply(&rows, &packed, &mut sums);
            let found: Vec<i32> =
                sums.chunks_exact(packed.outputs()).flat_map(|sums| &sums[..outputs]).copied().collect();
            assert_eq!(found, expected, "{}: {n} x {inputs} x {outputs}, zero {zero}", kernel.name());
        }
    }

    #[test]
    fn all_kernels_at_every_length_around_their_vectors() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for n in [1, 2, 3, 4, 5, 8, 9] {
            for inputs in [1, 3, 4, 5, 7, 8, 63, 64, 65] {
                for outputs in [1, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 80, 128] {
                    let rows: Vec<u8> = (0..n * inputs).map(|_| random.random()).collect();
                    let matrix: Vec<i8> = (0..inputs * outputs).map(|_| random.random()).collect();
                    check(&rows, &matrix, inputs, outputs, [0, 128][n % 2]);
                }
            }
        }
    }

    /// The largest products there are: no path may saturate.
    #[test]
    fn extremes_do_not_saturate() {
        for (byte, value) in [(255, 127), (255, -128), (0, 127), (0, -128), (128, -128)] {
            for zero in [0, 128] {
                check(&[byte; 512], &[value; 128 * 20], 128, 20, zero);
            }
        }
    }

    /// A million products of random bytes.
    #[test]
    fn a_million_random_cases() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut cases = 0;
        while cases < 1_000_000 {
            let [n, inputs, outputs] = [1..=9, 1..=140, 1..=140].map(|range| random.random_range(range));
            let rows: Vec<u8> = (0..n * inputs).map(|_| random.random()).collect();
            let matrix: Vec<i8> = (0..inputs * outputs).map(|_| random.random()).collect();
            check(&rows, &matrix, inputs, outputs, random.random());
            cases += n * outputs;
        }
    }
}

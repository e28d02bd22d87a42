//! The file `weight.bin`: constants that are too long for the program's own file.
//!
//! | bytes | what |
//! | --- | --- |
//! | 64 | count of blobs (`u32`), version 2 (`u32`), zeros |
//! | 64 a blob | its record: `0xDEADBEEF` (`u32`), type (`u32`), bytes of data and where they begin (`u64`), zeros |
//! | any | its data, zeros up to the next multiple of 64 |
//!
//! All numbers are little-endian. The layout is that of `MILBlob/Blob/StorageFormat.hpp` in coremltools.

/// Where every part begins is a multiple of this: the file is mapped into memory as it is.
const ALIGNMENT: usize = 64;
const VERSION: u32 = 2;
const MARK: u32 = 0xDEAD_BEEF;
/// The type of 32-bit floats, in the numbers of this file.
const FLOAT32: u32 = 2;

/// A file of weights under construction.
#[derive(Debug, Clone)]
pub struct Weights {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Weights {
    fn default() -> Self {
        // Room for the header.
        Self { bytes: vec![0; ALIGNMENT], count: 0 }
    }
}

impl Weights {
    /// Adds a blob, and says where its record begins.
    pub fn add(&mut self, values: &[f32]) -> u64 {
        self.align();
        let start = self.bytes.len();
        self.bytes.extend(MARK.to_le_bytes());
        self.bytes.extend(FLOAT32.to_le_bytes());
        self.bytes.extend((size_of_val(values) as u64).to_le_bytes());
        self.bytes.extend(((start + ALIGNMENT) as u64).to_le_bytes());
        self.align();
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.count += 1;
        start as u64
    }

    /// The file.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        self.bytes
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blobs_lie_as_the_format_says() {
        let mut weights = Weights::default();
        // The second begins behind 17 numbers, four bytes past a multiple of 64.
        let long: Vec<f32> = (0..17u8).map(f32::from).collect();
        assert_eq!([weights.add(&long), weights.add(&[-1.5])], [64, 256]);
        let bytes = weights.finish();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long_word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!([word(0), word(4)], [2, 2]);
        for (start, size, data) in [(64, 68, 128), (256, 4, 320)] {
            assert_eq!([word(start), word(start + 4)], [0xDEAD_BEEF, 2]);
            assert_eq!([long_word(start + 8), long_word(start + 16)], [size, data]);
            assert!(bytes[start + 24..start + 64].iter().all(|&byte| byte == 0));
        }
        assert_eq!(bytes[128..196].chunks_exact(4).map(le_float).collect::<Vec<f32>>(), long);
        assert!(bytes[8..64].iter().chain(&bytes[196..256]).all(|&byte| byte == 0));
        assert_eq!((le_float(&bytes[320..]), bytes.len()), (-1.5, 324));
        assert_eq!(Weights::default().finish().len(), 64);
    }

    fn le_float(bytes: &[u8]) -> f32 {
        f32::from_le_bytes(bytes.try_into().unwrap())
    }
}

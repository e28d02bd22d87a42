//! Which rows are in which leaf: one list, of which each leaf has a stretch.

use rayon::prelude::*;

/// Rows that one thread parts at once.
const ROWS_AT_ONCE: usize = 1 << 15;

/// Moves the rows whose bin goes `left` to the front, keeping the order on both sides, and returns how many they are.
/// `spare` is as long as `rows`.
pub(super) fn partition(rows: &mut [u32], spare: &mut [u32], bins: &[u8], left: &[bool; 256]) -> usize {
    if rows.len() <= ROWS_AT_ONCE {
        let count = part(rows, spare, bins, left);
        let right = rows.len() - count;
        rows[count..].copy_from_slice(&spare[..right]);
        return count;
    }
    let chunks = rows.par_chunks_mut(ROWS_AT_ONCE).zip(spare.par_chunks_mut(ROWS_AT_ONCE));
    let counts: Vec<usize> = chunks.map(|(rows, spare)| part(rows, spare, bins, left)).collect();
    let mut end = 0;
    for (chunk, &count) in counts.iter().enumerate() {
        let start = chunk * ROWS_AT_ONCE;
        rows.copy_within(start..start + count, end);
        end += count;
    }
    let mut from = end;
    for (&count, spare) in counts.iter().zip(spare.chunks(ROWS_AT_ONCE)) {
        let right = spare.len() - count;
        rows[from..from + right].copy_from_slice(&spare[..right]);
        from += right;
    }
    end
}

/// Moves the rows that go left to the front and the others to the front of `spare`. Without a branch: which way a row
/// goes cannot be predicted.
fn part(rows: &mut [u32], spare: &mut [u32], bins: &[u8], left: &[bool; 256]) -> usize {
    let (mut lefts, mut rights) = (0, 0);
    for at in 0..rows.len() {
        let row = rows[at];
        let goes_left = left[usize::from(bins[row as usize])];
        rows[lefts] = row;
        spare[rights] = row;
        lefts += usize::from(goes_left);
        rights += usize::from(!goes_left);
    }
    lefts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_their_order() {
        for count in [0, 1, 2, 1_000, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 7] {
            let bins: Vec<u8> = (0..2 * count).map(|i| (i * i % 251) as u8).collect();
            let mut left = [false; 256];
            left[..100].fill(true);
            let rows: Vec<u32> = (0..count as u32).map(|row| 2 * row).collect();
            let (expected_left, expected_right): (Vec<u32>, Vec<u32>) =
                rows.iter().partition(|&&row| left[usize::from(bins[row as usize])]);
            let (mut parted, mut spare) = (rows.clone(), vec![0; count]);
            let middle = partition(&mut parted, &mut spare, &bins, &left);
            assert_eq!(parted[..middle], expected_left);
            assert_eq!(parted[middle..], expected_right);
        }
    }
}

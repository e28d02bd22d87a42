//! One job for each person, several at a time.

use std::cmp::Reverse;

use rayon::prelude::*;

/// What `act` makes of each item and its position, in their order. The largest are begun first: one that came last would
/// keep one core busy while all others wait.
pub fn largest_first<T: Sync, R: Send>(
    items: &[T],
    size: impl Fn(&T) -> usize,
    act: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&position| Reverse(size(&items[position])));
    let mut made: Vec<(usize, R)> =
        order.into_par_iter().map(|position| (position, act(position, &items[position]))).collect();
    made.sort_by_key(|&(position, _)| position);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        for items in [vec![], vec![3], vec![1, 5, 3, 5, 0]] {
            let made = largest_first(&items, |&item| item, |position, &item| (position, item));
            assert_eq!(made, items.iter().copied().enumerate().collect::<Vec<_>>());
        }
    }
}

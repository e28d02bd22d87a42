//! How far two sides agree: numbers, the first place, the first three, and how often each is right.

use crate::agreement::largest_difference;

/// Places that count.
const FIRST: usize = 3;

/// Counts over questions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agreement {
    /// Questions that both sides answered.
    pub questions: usize,
    /// Of any number of any question.
    pub max_difference: f64,
    same_first: usize,
    same_three: usize,
    /// Questions whose answer is first, and those where it is among the first three.
    theirs: [usize; 2],
    ours: [usize; 2],
}

impl Agreement {
    /// Counts a question with what both sides say of each candidate; `answer` is the place of the app that was opened.
    pub fn count(&mut self, ours: &[f32], theirs: &[f32], answer: Option<usize>) {
        self.questions += 1;
        self.max_difference = self.max_difference.max(largest_difference(ours, theirs));
        let (our_first, their_first) = (first_three(ours), first_three(theirs));
        self.same_first += usize::from(our_first.first() == their_first.first());
        self.same_three += usize::from(our_first == their_first);
        for (hits, first) in [(&mut self.ours, our_first), (&mut self.theirs, their_first)] {
            let place = answer.and_then(|answer| first.iter().position(|&place| place == answer));
            hits[0] += usize::from(place == Some(0));
            hits[1] += usize::from(place.is_some());
        }
    }

    /// Of the questions, how many have the same first place, and the same first three in the same order.
    pub fn shares(&self) -> Option<[f64; 2]> {
        self.over([self.same_first, self.same_three])
    }

    /// HR@1 and HR@3 of theirs. A question whose answer is no candidate counts as missed, for both sides.
    pub fn their_hits(&self) -> Option<[f64; 2]> {
        self.over(self.theirs)
    }

    /// HR@1 and HR@3 of ours, on the same questions.
    pub fn our_hits(&self) -> Option<[f64; 2]> {
        self.over(self.ours)
    }

    fn over(&self, counts: [usize; 2]) -> Option<[f64; 2]> {
        (self.questions > 0).then(|| counts.map(|count| count as f64 / self.questions as f64))
    }
}

/// Places of the three largest numbers, fewer where there are fewer; of equal ones the earlier comes first.
fn first_three(numbers: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    places.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
    places.truncate(FIRST);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_ordered_by_place() {
        for (numbers, expected) in [
            (&[0.1, 0.4, 0.4, 0.2][..], vec![1, 2, 3]),
            (&[0.5, 0.5, 0.5, 0.5], vec![0, 1, 2]),
            (&[0.0, 1.0], vec![1, 0]),
            (&[], vec![]),
        ] {
            assert_eq!(first_three(numbers), expected);
        }
    }

    #[test]
    fn counts_become_shares() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.shares(), None);
        let ours = [0.5, 0.3, 0.2, 0.0];
        for (theirs, answer) in [
            (vec![0.5, 0.3, 0.2, 0.0], Some(0)),
            // The first two change places: neither the first place nor the order of three is the same.
            (vec![0.3, 0.5, 0.2, 0.0], Some(0)),
            // Places two and three change.
            (vec![0.5, 0.2, 0.25, 0.05], Some(2)),
            (vec![0.5, 0.3, 0.2, 0.0], None),
        ] {
            agreement.count(&ours, &theirs, answer);
        }
        assert_eq!(agreement.questions, 4);
        assert_eq!(agreement.shares(), Some([0.75, 0.5]));
        assert_eq!(agreement.our_hits(), Some([0.5, 0.75]));
        assert_eq!(agreement.their_hits(), Some([0.25, 0.75]));
        assert!((agreement.max_difference - 0.2).abs() < 1e-6);
    }

    #[test]
    fn answers_of_another_length_are_no_agreement() {
        let mut agreement = Agreement::default();
        agreement.count(&[0.1, 0.9], &[0.1, 0.9, 0.0], Some(1));
        agreement.count(&[0.1], &[f32::NAN], Some(0));
        assert_eq!(agreement.max_difference, f64::INFINITY);
    }
}

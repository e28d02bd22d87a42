//! How long one question takes, everyone in turn on one thread.

use std::time::{Duration, Instant};

use super::model::Model;
use super::people::{Moment, Question};
use super::runtimes::Session;
use crate::Result;
use crate::timing::median;

/// A turn ends then, so that everyone meets the same machine; the next one goes on with the questions that are left.
const LONGEST_TURN: Duration = Duration::from_millis(500);

/// Someone who answers questions.
pub trait Participant {
    /// What happens before the clock starts.
    fn get_ready(&mut self, _index: usize) {}

    /// Answers question `index` of the sample.
    ///
    /// # Errors
    /// What a runtime says.
    fn answer(&mut self, index: usize) -> Result<()>;
}

/// A runtime with the questions of the sample in place.
pub struct TheirTurn<'a> {
    session: Box<dyn Session + 'a>,
    prepared: Vec<usize>,
}

impl<'a> TheirTurn<'a> {
    /// Has `session` take in the questions of `sample`.
    ///
    /// # Errors
    /// It refuses one.
    pub fn new(
        mut session: Box<dyn Session + 'a>,
        model: Model,
        asked: &[Question],
        sample: &[Moment],
    ) -> Result<Self> {
        let questions = sample.iter().map(|moment| &asked[moment.question]);
        let prepared = questions.map(|question| session.prepare(&model.inputs(question)));
        let prepared = prepared.collect::<Result<_>>()?;
        Ok(Self { session, prepared })
    }
}

impl Participant for TheirTurn<'_> {
    fn answer(&mut self, index: usize) -> Result<()> {
        self.session.run(self.prepared[index])
    }
}

/// Microseconds of a participant.
#[derive(Debug, Clone, Default)]
pub struct Timed {
    /// Of single questions.
    pub micros: Vec<f64>,
    /// The median of each turn.
    pub medians: Vec<f64>,
    /// What ended it early.
    pub error: Option<String>,
}

/// Times `participants` in turn, `turns` times, over a sample of `questions`. Whoever fails is left out from then on.
pub fn time(participants: &mut [Box<dyn Participant + '_>], questions: usize, turns: usize) -> Vec<Timed> {
    let mut timed = vec![Timed::default(); participants.len()];
    let mut next = vec![0; participants.len()];
    for turn in 0..=turns {
        for ((participant, timed), next) in participants.iter_mut().zip(&mut timed).zip(&mut next) {
            if timed.error.is_some() {
                continue;
            }
            match take_turn(participant.as_mut(), questions, next) {
                // The first turn warms everyone up.
                Ok(micros) if turn > 0 => {
                    timed.medians.extend(median(&micros));
                    timed.micros.extend(micros);
                }
                Ok(_) => {}
                Err(error) => timed.error = Some(error.to_string()),
            }
        }
    }
    timed
}

/// Microseconds of each question of a turn, which begins with question `next`.
fn take_turn(participant: &mut dyn Participant, questions: usize, next: &mut usize) -> Result<Vec<f64>> {
    let (began, mut micros) = (Instant::now(), Vec::with_capacity(questions));
    while micros.len() < questions && (micros.is_empty() || began.elapsed() < LONGEST_TURN) {
        participant.get_ready(*next);
        let start = Instant::now();
        participant.answer(*next)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        *next = (*next + 1) % questions;
    }
    Ok(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what it is asked, and refuses question `refused`.
    struct Noting<'a> {
        asked: &'a mut Vec<usize>,
        refused: Option<usize>,
        takes: Duration,
    }

    impl Participant for Noting<'_> {
        fn answer(&mut self, index: usize) -> Result<()> {
            std::thread::sleep(self.takes);
            self.asked.push(index);
            if self.refused == Some(index) { Err("no".into()) } else { Ok(()) }
        }
    }

    #[test]
    fn turns_after_the_first_count_and_whoever_fails_is_left_out() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let timed = time(
            &mut [
                Box::new(Noting { asked: &mut first, refused: None, takes: Duration::ZERO }),
                Box::new(Noting { asked: &mut second, refused: Some(1), takes: Duration::ZERO }),
            ],
            3,
            2,
        );
        assert_eq!(first, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!((timed[0].micros.len(), timed[0].medians.len()), (6, 2));
        assert_eq!(second, [0, 1]);
        assert_eq!((timed[1].micros.len(), timed[1].error.as_deref()), (0, Some("no")));
    }

    #[test]
    fn a_slow_one_goes_on_where_its_turn_ended() {
        let mut asked = Vec::new();
        let mut slow = Noting { asked: &mut asked, refused: None, takes: LONGEST_TURN };
        let mut next = 0;
        for _ in 0..4 {
            assert_eq!(take_turn(&mut slow, 3, &mut next).unwrap().len(), 1);
        }
        assert_eq!(asked, [0, 1, 2, 0]);
    }
}

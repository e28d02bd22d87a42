//! People of a family: which mechanisms lead a person to an app, and how these work together, is drawn for each.
//!
//! A law ([`FamilyLaw`]) says what may be drawn. The parts, in order: `law` (the ranges), `past` (what has happened), `mechanism`
//! (what draws to an app), `member` (who), `life` (events are made).
//!
//! What a launch is drawn from depends on what the phone has noted, and on three things that a log does not show: how tastes
//! have drifted, and, of people whose log lacks a kind of signal, what that signal would have said.

mod law;
mod life;
mod mechanism;
mod member;
mod past;

use rand::RngExt as _;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub use law::FamilyLaw;

use super::truth::PersonTruth;
use super::{SimulationConfig, stream, user_id};
use crate::data::{AppId, Event, UserId};

/// A position among a person's apps, which are in [`AppId`] order.
type Slot = usize;

/// The `index`-th person of a simulation with `store` apps, and all events of that life.
pub(super) fn person(
    law: &FamilyLaw,
    store: usize,
    config: &SimulationConfig,
    index: usize,
) -> (UserId, Vec<Event>, PersonTruth) {
    let mut rng = stream(config.seed, 2 * index as u64);
    let member = member::Member::draw(law, i64::from(config.days), &mut rng);
    let mut apps: Vec<AppId> = index::sample(&mut rng, store, member.lives.len().min(store))
        .into_iter()
        .map(|app| AppId(u32::try_from(app).unwrap_or(u32::MAX)))
        .collect();
    apps.sort_unstable();
    let user = user_id(config.seed, index);
    let mut rng = stream(config.seed, 2 * index as u64 + 1);
    let (events, truth) = life::live(&member, (user, apps), config, &mut rng);
    (user, events, truth)
}

fn gaussian(rng: &mut ChaCha8Rng) -> f64 {
    rng.sample(StandardNormal)
}

/// The weight of a rank, 0 the first.
fn zipf(rank: usize, exponent: f64) -> f64 {
    ((rank + 1) as f64).powf(-exponent)
}

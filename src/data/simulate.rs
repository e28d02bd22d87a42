//! People whose habits, and so the best possible score, are known.

use super::{AppId, Timestamp, UserId};

/// stub
#[derive(Debug)]
pub struct Truth;
/// stub
#[derive(Clone, Copy)]
pub struct TrueDistribution;
impl Truth {
    /// stub
    pub fn first_after_unlock(&self, _user: UserId, _at: Timestamp) -> Option<TrueDistribution> {
        None
    }
}
impl TrueDistribution {
    /// stub
    pub fn probability(&self, _app: AppId) -> f32 {
        0.0
    }
}

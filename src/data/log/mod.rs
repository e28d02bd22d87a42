//! Log files of several formats become one [`Log`].

use super::event::{Event, UserId};

/// Events of any number of users: each user's rows together, in time order; users in order of appearance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    events: Vec<Event>,
}

impl Log {
    /// Groups `events` by user (in order of first appearance) and sorts each user's by time.
    /// Rows of one second keep their order.
    pub fn from_events(mut events: Vec<Event>) -> Self {
        let mut order: std::collections::HashMap<UserId, usize> = std::collections::HashMap::new();
        for event in &events {
            let next = order.len();
            order.entry(event.user).or_insert(next);
        }
        events.sort_by_key(|event| (order[&event.user], event.at));
        Self { events }
    }

    /// All events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Each user's events, in time order.
    pub fn users(&self) -> impl Iterator<Item = &[Event]> {
        self.events.chunk_by(|a, b| a.user == b.user)
    }
}

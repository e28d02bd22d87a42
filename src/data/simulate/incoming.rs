//! What comes to a phone from outside while it is used or lies still.

use crate::data::Timestamp;

/// Notifications and glances at the locked screen, each in time order, of which the earlier ones have happened.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    notifications: &'a [(Timestamp, usize)],
    glances: &'a [Timestamp],
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arriving {
    /// An app posts a notification: its position among the person's apps.
    Notification(Timestamp, usize),
    /// The person looks at the locked screen.
    Glance(Timestamp),
}

impl<'a> Incoming<'a> {
    /// Notifications from `from` on, and all glances.
    pub(super) fn new(
        notifications: &'a [(Timestamp, usize)],
        glances: &'a [Timestamp],
        from: Timestamp,
    ) -> Self {
        let begun = notifications.partition_point(|notification| notification.0 < from);
        Self { notifications: &notifications[begun..], glances }
    }

    /// The next notification up to `until`.
    pub(super) fn notification(&mut self, until: Timestamp) -> Option<(Timestamp, usize)> {
        let (&next, rest) = self.notifications.split_first().filter(|(next, _)| next.0 <= until)?;
        self.notifications = rest;
        Some(next)
    }

    /// The next of both up to `until`; of two in the same second, the notification.
    pub(super) fn next(&mut self, until: Timestamp) -> Option<Arriving> {
        let glance = self.glances.split_first().filter(|(at, _)| **at <= until);
        match (glance, self.notifications.first()) {
            (Some((&at, rest)), notification) if notification.is_none_or(|next| next.0 > at) => {
                self.glances = rest;
                Some(Arriving::Glance(at))
            }
            _ => self.notification(until).map(|(at, slot)| Arriving::Notification(at, slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_in_time_order_up_to_a_moment() {
        let at = Timestamp;
        let (notifications, glances) = ([(at(1), 7), (at(5), 8), (at(9), 9)], [at(5), at(6), at(20)]);
        let mut incoming = Incoming::new(&notifications, &glances, at(2));
        assert_eq!(incoming.next(at(4)), None);
        assert_eq!(incoming.next(at(9)), Some(Arriving::Notification(at(5), 8)));
        assert_eq!(incoming.next(at(9)), Some(Arriving::Glance(at(5))));
        assert_eq!(incoming.notification(at(8)), None);
        assert_eq!(incoming.next(at(9)), Some(Arriving::Glance(at(6))));
        assert_eq!(incoming.notification(at(9)), Some((at(9), 9)));
        assert_eq!(incoming.next(at(19)), None);
    }
}

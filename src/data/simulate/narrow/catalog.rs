//! The synthetic app store: names, kinds, and when and where each kind of app is liked.

/// Apps that every simulated phone carries. They come first in the store and so on every phone, which is why
/// habits may name some of them by position.
pub(in crate::data::simulate) const ESSENTIALS: usize = 16;
pub(super) const WEATHER: usize = 6;
pub(super) const CLOCK: usize = 7;
pub(super) const CALENDAR: usize = 8;
pub(super) const MAPS: usize = 9;
pub(super) const NEWS: usize = 15;

/// What an app is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Talk,
    Mail,
    Social,
    Video,
    Music,
    Game,
    News,
    Web,
    Travel,
    Work,
    Tool,
    Shop,
    Read,
    Health,
}

/// How strongly an app of a kind is drawn to an hour, a place and a connection; 1 is indifferent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    /// The local hour at which it is liked best.
    pub peak_hour: f64,
    /// Concentration around that hour (kappa of a von Mises curve); 0 is the same all day.
    pub sharpness: f64,
    pub at_home: f64,
    pub at_work: f64,
    pub elsewhere: f64,
    /// Factor on a mobile network.
    pub cellular: f64,
    /// Factor when the battery is nearly empty and not charging.
    pub low_battery: f64,
    /// Notifications that it posts, relative to the other kinds.
    pub notices: f64,
}

impl Kind {
    #[rustfmt::skip]
    pub(super) const fn profile(self) -> Profile {
        let row = match self {
            //             peak  sharp  home  work  else  cell  low   notices
            Kind::Talk =>   [18.0, 0.2,  1.0,  0.9,  1.3,  1.1,  1.2,  6.0],
            Kind::Mail =>   [10.0, 0.7,  0.8,  1.6,  0.8,  0.9,  1.0,  2.5],
            Kind::Social => [21.0, 0.5,  1.2,  0.8,  1.0,  1.0,  0.9,  1.5],
            Kind::Video =>  [21.5, 0.9,  1.6,  0.4,  0.6,  0.4,  0.4,  0.6],
            Kind::Music =>  [8.5,  0.4,  0.8,  0.9,  1.8,  1.8,  0.8,  0.1],
            Kind::Game =>   [20.0, 0.6,  1.3,  0.5,  1.1,  0.9,  0.4,  0.6],
            Kind::News =>   [8.0,  0.9,  1.2,  0.7,  1.0,  1.0,  0.9,  0.8],
            Kind::Web =>    [16.0, 0.3,  1.0,  1.0,  1.0,  0.9,  1.0,  0.3],
            Kind::Travel => [17.0, 0.4,  0.4,  0.6,  2.8,  2.2,  1.5,  0.1],
            Kind::Work =>   [11.0, 1.6,  0.5,  2.5,  0.7,  0.9,  1.0,  2.5],
            Kind::Tool =>   [15.0, 0.2,  1.0,  1.0,  1.0,  1.0,  1.0,  0.1],
            Kind::Shop =>   [20.0, 0.5,  1.1,  0.8,  1.2,  0.9,  0.8,  0.6],
            Kind::Read =>   [22.0, 0.9,  1.3,  0.4,  1.3,  1.3,  0.8,  0.2],
            Kind::Health => [7.0,  0.7,  1.2,  0.4,  1.5,  1.0,  0.8,  0.4],
        };
        let [peak_hour, sharpness, at_home, at_work, elsewhere, cellular, low_battery, notices] = row;
        Profile { peak_hour, sharpness, at_home, at_work, elsewhere, cellular, low_battery, notices }
    }
}

const NAMED: [(&str, Kind); 52] = [
    ("Messages", Kind::Talk),
    ("Phone", Kind::Talk),
    ("Browser", Kind::Web),
    ("Mail", Kind::Mail),
    ("Camera", Kind::Tool),
    ("Photos", Kind::Social),
    ("Weather", Kind::Tool),
    ("Clock", Kind::Tool),
    ("Calendar", Kind::Work),
    ("Maps", Kind::Travel),
    ("Settings", Kind::Tool),
    ("Music", Kind::Music),
    ("Videos", Kind::Video),
    ("App Store", Kind::Shop),
    ("Chat", Kind::Talk),
    ("News", Kind::News),
    ("Social Feed", Kind::Social),
    ("Photo Sharing", Kind::Social),
    ("Short Videos", Kind::Video),
    ("Group Chat", Kind::Talk),
    ("Team Chat", Kind::Work),
    ("Puzzle Game", Kind::Game),
    ("Streaming", Kind::Video),
    ("Shopping", Kind::Shop),
    ("Bank", Kind::Tool),
    ("Transit", Kind::Travel),
    ("Notes", Kind::Tool),
    ("Forum", Kind::Read),
    ("Podcasts", Kind::Music),
    ("Fitness", Kind::Health),
    ("Video Calls", Kind::Talk),
    ("E-Books", Kind::Read),
    ("Work Mail", Kind::Work),
    ("Card Game", Kind::Game),
    ("Food Delivery", Kind::Shop),
    ("Ride Hailing", Kind::Travel),
    ("Calculator", Kind::Tool),
    ("Files", Kind::Tool),
    ("Contacts", Kind::Talk),
    ("Dating", Kind::Social),
    ("Radio", Kind::Music),
    ("Sports Scores", Kind::News),
    ("Language Lessons", Kind::Read),
    ("Strategy Game", Kind::Game),
    ("Documents", Kind::Work),
    ("Recipes", Kind::Read),
    ("Cloud Drive", Kind::Work),
    ("Second Browser", Kind::Web),
    ("Travel Booking", Kind::Travel),
    ("Sleep Tracker", Kind::Health),
    ("Magazine", Kind::News),
    ("Racing Game", Kind::Game),
];

/// The name of the store's `index`-th app, most popular first.
pub(in crate::data::simulate) fn name(index: usize) -> String {
    NAMED.get(index).map_or_else(|| format!("App {}", index + 1), |(name, _)| (*name).to_owned())
}

/// What the store's `index`-th app is for.
pub(super) fn kind(index: usize) -> Kind {
    const UNNAMED: [Kind; 9] = [
        Kind::Game,
        Kind::Tool,
        Kind::Shop,
        Kind::Read,
        Kind::Social,
        Kind::Travel,
        Kind::News,
        Kind::Work,
        Kind::Health,
    ];
    NAMED.get(index).map_or(UNNAMED[index % UNNAMED.len()], |&(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_name_the_apps_they_mean() {
        let named =
            [(WEATHER, "Weather"), (CLOCK, "Clock"), (CALENDAR, "Calendar"), (MAPS, "Maps"), (NEWS, "News")];
        for (index, expected) in named {
            assert_eq!(name(index), expected);
            assert!(index < ESSENTIALS);
        }
        assert_eq!(name(60), "App 61");
        let names: std::collections::BTreeSet<String> = (0..300).map(name).collect();
        assert_eq!(names.len(), 300);
    }
}

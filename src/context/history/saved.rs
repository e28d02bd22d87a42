//! How a history becomes bytes and comes back: each of its types lists its fields once, for both directions.
//!
//! Numbers are little-endian and stand without gaps, in the order of the fields ([`crate::storage::codec`]); a list is its count
//! and its elements; what may be missing is 0, or 1 and the value. An app is its position in a list of names, which is
//! kept apart, because ids belong to one vocabulary and a history outlives it.
//!
//! What is read is not believed: every number, every slot and every list is held against what a history can be, so that
//! whatever is accepted can do no harm later.

use std::collections::{HashMap, VecDeque};

use crate::data::{AppId, Battery, Network, PlaceId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::storage::codec::{Put as _, Reader};

/// What can be saved and restored to the last bit.
pub(in crate::context) trait Saved: Sized {
    fn save(&self, to: &mut Saver) -> Result<()>;
    fn restore(from: &mut Restorer<'_>) -> Result<Self>;
}

/// Another way to save a `T`, or one with a limit.
pub(in crate::context) trait SavedAs<T> {
    fn save(value: &T, to: &mut Saver) -> Result<()>;
    fn restore(from: &mut Restorer<'_>) -> Result<T>;
}

/// `saved!(Type { a, b as UpTo<9> } but { c } checked by Type::validation_error)`: fields `a` and `b` are saved, `c` follows
/// from the rest and is restored as its default, and what is restored is refused if the function finds a reason. What older
/// files have before a field, and nobody reads any more, stands above it: `#[after(Gone<2, 3, u32>)]`.
macro_rules! saved {
    ($type:ident { $($(#[after($($gone:ty),*)])? $field:ident $(as $how:ty)?),* $(,)? } $(but { $($left_out:ident),* $(,)? })?
        $(checked by $validation_error:path)?) =>
    {
        impl $crate::context::history::saved::Saved for $type {
            fn save(&self, to: &mut $crate::context::history::saved::Saver) -> $crate::error::Result<()> {
                let Self { $($field,)* $($($left_out: _,)*)? } = self;
                $(<saved!(@how $($how)?) as $crate::context::history::saved::SavedAs<_>>::save($field, to)?;)*
                Ok(())
            }

            fn restore(from: &mut $crate::context::history::saved::Restorer<'_>) -> $crate::error::Result<Self> {
                let restored = Self {
                    $($field: {
                        $($(<$gone>::skip(from)?;)*)?
                        from.field(
                            stringify!($field),
                            <saved!(@how $($how)?) as $crate::context::history::saved::SavedAs<_>>::restore,
                        )?
                    },)*
                    $($($left_out: Default::default(),)*)?
                };
                $(if let Some(validation_error) = $validation_error(&restored) {
                    return Err(from.wrong(validation_error));
                })?
                Ok(restored)
            }
        }
    };
    (@how) => { $crate::context::history::saved::Plain };
    (@how $how:ty) => { $how };
}
pub(in crate::context) use saved;

/// Where parts of a history are written.
#[derive(Default)]
pub(in crate::context) struct Saver {
    pub bytes: Vec<u8>,
    /// The apps met so far, each once.
    pub apps: Vec<AppId>,
    positions: HashMap<AppId, u32>,
}

impl Saver {
    /// How many elements a list has; they come next.
    pub fn count(&mut self, count: usize) -> Result<()> {
        self.bytes.put_count(count)
    }
}

/// Where parts of a history are read.
pub(in crate::context) struct Restorer<'a> {
    reader: Reader<'a>,
    /// The field that is being read, behind those that it is a part of. After an error: the one that is wrong.
    path: Vec<&'static str>,
    /// How many names there are, and how many apps have slots.
    apps: usize,
    slots: usize,
    /// Of the format: see [`Since`] and [`Gone`].
    version: u32,
}

impl<'a> Restorer<'a> {
    /// Reads on from `reader`, in a format of this version, where ids of apps are positions in a list of so many.
    pub fn new(reader: Reader<'a>, version: u32, apps: usize) -> Self {
        Self { reader, path: vec!["history"], apps, slots: 0, version }
    }

    pub fn field<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.path.push(name);
        let value = read(self)?;
        self.path.pop();
        Ok(value)
    }

    /// The version of the format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// An error about the bytes read last.
    pub fn wrong(&self, message: &str) -> Error {
        self.reader.wrong(message)
    }

    /// Reads all that there is. An error names the field that is wrong.
    pub fn all<T: Saved>(mut self) -> Result<T> {
        match T::restore(&mut self) {
            Ok(value) => self.reader.finish().map(|()| value),
            Err(error) => Err(error.field(self.path.join("."))),
        }
    }

    /// The count of a list of at most `limit` elements, of which none is smaller than a byte.
    pub fn count(&mut self, limit: usize) -> Result<usize> {
        let count = self.reader.count(1)?;
        if count > limit {
            return Err(self.wrong(&format!("{count} elements, but {limit} is the most")));
        }
        Ok(count)
    }

    /// A list, which grows as its elements are found: a count that lies allocates nothing.
    pub fn list<T: Saved>(&mut self, limit: usize) -> Result<Vec<T>> {
        let count = self.count(limit)?;
        (0..count).map(|_| T::restore(self)).collect()
    }

    /// The slot of an app.
    pub fn slot(&mut self) -> Result<u32> {
        self.position("slot", self.slots)
    }

    /// A position among so many `what`.
    fn position(&mut self, what: &str, count: usize) -> Result<u32> {
        let position = self.reader.u32()?;
        if position as usize >= count {
            return Err(self.wrong(&format!("{what} {position}, but there are {count}")));
        }
        Ok(position)
    }

    fn in_range<T: PartialOrd + Copy + std::fmt::Display>(&self, value: T, least: T, most: T) -> Result<T> {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(self.wrong(&format!("{value}, but {most} is the most, and {least} the least")))
    }
}

/// As the type itself says.
pub(in crate::context) struct Plain;

/// A list of at most so many elements.
pub(in crate::context) struct UpTo<const LIMIT: usize>;

/// A list of at most so many elements, whose positions are the slots.
pub(in crate::context) struct Slots<const LIMIT: usize>;

/// Seconds between two times, rounded to a float.
pub(in crate::context) struct Secs;

/// In formats of this version and later; what an older one tells nothing of begins anew.
pub(in crate::context) struct Since<const VERSION: u32, How = Plain>(std::marker::PhantomData<How>);

impl<T: Default, How: SavedAs<T>, const VERSION: u32> SavedAs<T> for Since<VERSION, How> {
    fn save(value: &T, to: &mut Saver) -> Result<()> {
        How::save(value, to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<T> {
        if from.version < VERSION { Ok(T::default()) } else { How::restore(from) }
    }
}

/// What only files of versions `FIRST` to `LAST` have. It is read and dropped.
pub(in crate::context) struct Gone<const FIRST: u32, const LAST: u32, T>(std::marker::PhantomData<T>);

impl<const FIRST: u32, const LAST: u32, T: Saved> Gone<FIRST, LAST, T> {
    pub fn skip(from: &mut Restorer<'_>) -> Result<()> {
        if (FIRST..=LAST).contains(&from.version) { T::restore(from).map(drop) } else { Ok(()) }
    }
}

impl<T: Saved> SavedAs<T> for Plain {
    fn save(value: &T, to: &mut Saver) -> Result<()> {
        value.save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<T> {
        T::restore(from)
    }
}

/// Writes what [`Restorer::list`] reads.
pub(in crate::context) fn save_list<'a, T: Saved + 'a>(
    list: impl ExactSizeIterator<Item = &'a T>,
    to: &mut Saver,
) -> Result<()> {
    to.count(list.len())?;
    list.into_iter().try_for_each(|element| element.save(to))
}

impl<T: Saved, const LIMIT: usize> SavedAs<Vec<T>> for UpTo<LIMIT> {
    fn save(list: &Vec<T>, to: &mut Saver) -> Result<()> {
        save_list(list.iter(), to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Vec<T>> {
        from.list(LIMIT)
    }
}

impl<T: Saved, const LIMIT: usize> SavedAs<VecDeque<T>> for UpTo<LIMIT> {
    fn save(list: &VecDeque<T>, to: &mut Saver) -> Result<()> {
        save_list(list.iter(), to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<VecDeque<T>> {
        from.list(LIMIT).map(VecDeque::from)
    }
}

impl<T: Saved, const LIMIT: usize> SavedAs<Vec<T>> for Slots<LIMIT> {
    fn save(list: &Vec<T>, to: &mut Saver) -> Result<()> {
        save_list(list.iter(), to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Vec<T>> {
        from.slots = from.count(LIMIT)?;
        (0..from.slots).map(|_| T::restore(from)).collect()
    }
}

impl SavedAs<Option<f32>> for Secs {
    fn save(secs: &Option<f32>, to: &mut Saver) -> Result<()> {
        secs.save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Option<f32>> {
        if !from.reader.bool()? {
            return Ok(None);
        }
        let secs = from.reader.f32()?;
        from.in_range(secs, 0.0, i64::MAX as f32).map(Some)
    }
}

/// Numbers: how each is written and read, and its range. What is counted in `u32` stops far from where it would overflow;
/// a count in `f32` stops at 2^24, since one more is lost on it.
// Source of the ranges: units.
macro_rules! saved_numbers {
    ($($number:ident $put:ident $least:expr, $most:expr;)*) => {$(
        impl Saved for $number {
            fn save(&self, to: &mut Saver) -> Result<()> {
                to.bytes.$put(*self);
                Ok(())
            }

            fn restore(from: &mut Restorer<'_>) -> Result<Self> {
                let value = from.reader.$number()?;
                from.in_range(value, $least, $most)
            }
        }
    )*};
}

saved_numbers! {
    u8 put_u8 0, u8::MAX;
    u16 put_u16 0, u16::MAX;
    u32 put_u32 0, 1 << 31;
    u64 put_u64 0, 1 << 63;
    i32 put_i32 i32::MIN, i32::MAX;
    f32 put_f32 0.0, (1 << 24) as f32;
    f64 put_f64 0.0, f64::MAX;
}

impl Saved for bool {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.bytes.put_bool(*self);
        Ok(())
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        from.reader.bool()
    }
}

/// A position in a short list.
impl Saved for usize {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.count(*self)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        Ok(from.reader.u32()? as usize)
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.bytes.put_bool(self.is_some());
        self.iter().try_for_each(|value| value.save(to))
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        if from.reader.bool()? { T::restore(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Saved + Default, const N: usize> Saved for [T; N] {
    fn save(&self, to: &mut Saver) -> Result<()> {
        self.iter().try_for_each(|value| value.save(to))
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let mut array = std::array::from_fn(|_| T::default());
        for value in &mut array {
            *value = T::restore(from)?;
        }
        Ok(array)
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn save(&self, to: &mut Saver) -> Result<()> {
        self.0.save(to)?;
        self.1.save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        Ok((A::restore(from)?, B::restore(from)?))
    }
}

// What events are made of.

impl Saved for AppId {
    fn save(&self, to: &mut Saver) -> Result<()> {
        let Saver { bytes, apps, positions } = to;
        let position = *positions.entry(*self).or_insert_with(|| {
            apps.push(*self);
            (apps.len() - 1) as u32
        });
        bytes.put_u32(position);
        Ok(())
    }

    /// Not the id yet, but the position of the name.
    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        from.position("name", from.apps).map(AppId)
    }
}

impl Saved for Timestamp {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.bytes.put_i64(self.0);
        Ok(())
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        from.reader.i64().map(Self)
    }
}

impl Saved for UserId {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.bytes.put_u64(self.0);
        Ok(())
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        from.reader.u64().map(Self)
    }
}

impl Saved for PlaceId {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.bytes.put_text(&self.to_string())
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let text = from.reader.text()?;
        text.parse().map_err(|()| from.wrong(&format!("{text:?} is no place")))
    }
}

saved!(Battery { percent, charging });

impl Saved for Network {
    fn save(&self, to: &mut Saver) -> Result<()> {
        (*self as u8).save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let class = from.reader.u8()?;
        let networks = [Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular];
        networks.get(usize::from(class)).copied().ok_or_else(|| from.wrong("a network of no kind"))
    }
}

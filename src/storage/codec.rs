//! What sections are made of: numbers, texts and lists, little-endian and without gaps.
//!
//! | field | bytes |
//! | --- | --- |
//! | number | its own size |
//! | bool | one, 0 or 1 |
//! | text | length in bytes as `u16`, then UTF-8 |
//! | list | count as `u32`, then the elements |
//!
//! A [`Reader`] believes nothing: it reads no byte beyond the last, promises no more elements than there can be, and
//! every error names the section and the byte. [`Put`] writes what it reads:
//!
//! ```
//! use foretap::bundle::{Put as _, Reader};
//!
//! let mut bytes = Vec::new();
//! bytes.put_text("Mail")?;
//! bytes.put_count(2)?;
//! bytes.put_f32(0.5);
//! bytes.put_f32(0.25);
//!
//! let mut reader = Reader::new("APPS", &bytes, "make the bundle again");
//! assert_eq!(reader.text()?, "Mail");
//! let count = reader.count(4)?;
//! let shares = (0..count).map(|_| reader.f32()).collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(shares, [0.5, 0.25]);
//! reader.finish()?;
//! # Ok::<(), foretap::Error>(())
//! ```

use crate::error::{Error, ErrorKind, Result};

/// The numbers, each by the name of its type.
macro_rules! read_numbers {
    ($($number:ident),*) => {$(
        #[doc = concat!("A number of type `", stringify!($number), "`.\n\n# Errors\nIt is cut off.")]
        pub fn $number(&mut self) -> Result<$number> {
            self.array().map($number::from_le_bytes)
        }
    )*};
}

/// The same for [`Put`].
macro_rules! put_numbers {
    ($($put:ident $number:ident),*) => {$(
        #[doc = concat!("A number of type `", stringify!($number), "`.")]
        fn $put(&mut self, value: $number) {
            self.put(&value.to_le_bytes());
        }
    )*};
}

/// Walks through bytes that somebody else wrote, field by field.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    /// Where the field that was read last begins: what errors name.
    field_at: usize,
    name: String,
    next_step: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start. Errors say `name`, a section's tag for instance, and advise `next_step`.
    pub fn new(name: impl Into<String>, bytes: &'a [u8], next_step: &'static str) -> Self {
        Self { all: bytes, rest: bytes, field_at: 0, name: name.into(), next_step }
    }

    /// What errors from here on advise.
    pub fn advise(&mut self, next_step: &'static str) {
        self.next_step = next_step;
    }

    /// How many bytes were read: where the next field begins.
    pub fn position(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    /// What was read.
    pub fn passed(&self) -> &'a [u8] {
        &self.all[..self.position()]
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes, in place.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        self.field_at = self.position();
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.wrong(format!("{count} bytes are asked for, but {} are left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    read_numbers!(u8, u16, u32, u64, i16, i32, i64, f32, f64);

    /// Yes or no.
    ///
    /// # Errors
    /// No byte is left, or it is neither 0 nor 1.
    pub fn bool(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.wrong(format!("{other} where 0 or 1 is asked for"))),
        }
    }

    /// A text, in place.
    ///
    /// # Errors
    /// It is cut off, or no UTF-8.
    pub fn text(&mut self) -> Result<&'a str> {
        let length = self.u16()?;
        let bytes = self.bytes(usize::from(length))?;
        std::str::from_utf8(bytes).map_err(|error| self.wrong(format!("a text that is no UTF-8: {error}")))
    }

    /// How many elements follow, each of at least `bytes_each` bytes (0 counts as 1). No more than can be: what is
    /// allocated for them is in proportion to bytes that exist.
    ///
    /// # Errors
    /// The bytes left cannot hold that many.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize> {
        let bytes_each = bytes_each.max(1);
        let count = self.u32()? as usize;
        let left = self.rest.len();
        if count > left / bytes_each {
            let message =
                format!("{count} elements of at least {bytes_each} bytes, but {left} bytes are left");
            return Err(self.wrong(message));
        }
        Ok(count)
    }

    /// The end of reading.
    ///
    /// # Errors
    /// Something is left that nobody asked for.
    pub fn finish(mut self) -> Result<()> {
        self.field_at = self.position();
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.wrong(format!("{left} bytes too many"))),
        }
    }

    /// An error about the field that was read last.
    pub fn wrong(&self, message: impl AsRef<str>) -> Error {
        let message = format!("at byte {}: {}", self.field_at, message.as_ref());
        Error::new(ErrorKind::Model, message).field(&self.name).next_step(self.next_step)
    }
}

/// Writes, at the end of a `Vec<u8>`, what a [`Reader`] reads.
pub trait Put {
    /// Bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    put_numbers!(
        put_u8 u8, put_u16 u16, put_u32 u32, put_u64 u64, put_i16 i16, put_i32 i32, put_i64 i64, put_f32 f32, put_f64 f64
    );

    /// Yes or no.
    fn put_bool(&mut self, value: bool) {
        self.put_u8(value.into());
    }

    /// A text.
    ///
    /// # Errors
    /// It is longer than 65,535 bytes.
    fn put_text(&mut self, text: &str) -> Result<()> {
        let length = u16::try_from(text.len()).map_err(|_| {
            Error::new(ErrorKind::Model, format!("a text of {} bytes, but 65535 is the most", text.len()))
                .next_step("shorten it")
        })?;
        self.put_u16(length);
        self.put(text.as_bytes());
        Ok(())
    }

    /// How many elements follow.
    ///
    /// # Errors
    /// More than 32 bits can tell.
    fn put_count(&mut self, count: usize) -> Result<()> {
        let count = u32::try_from(count).map_err(|_| {
            Error::new(ErrorKind::Model, format!("a list of {count} elements, but {} is the most", u32::MAX))
                .next_step("make the model smaller")
        })?;
        self.put_u32(count);
        Ok(())
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEXT_STEP: &str = "make the bundle again";

    /// What a section may hold.
    #[derive(Debug, Clone)]
    enum Field {
        U8(u8),
        U16(u16),
        U32(u32),
        U64(u64),
        I16(i16),
        I32(i32),
        F32(f32),
        F64(f64),
        Bool(bool),
        Text(String),
        Bytes(Vec<u8>),
        List(Vec<u16>),
    }

    impl Field {
        fn write(&self, out: &mut Vec<u8>) {
            match self {
                Field::U8(value) => out.put_u8(*value),
                Field::U16(value) => out.put_u16(*value),
                Field::U32(value) => out.put_u32(*value),
                Field::U64(value) => out.put_u64(*value),
                Field::I16(value) => out.put_i16(*value),
                Field::I32(value) => out.put_i32(*value),
                Field::F32(value) => out.put_f32(*value),
                Field::F64(value) => out.put_f64(*value),
                Field::Bool(value) => out.put_bool(*value),
                Field::Text(text) => out.put_text(text).unwrap(),
                Field::Bytes(bytes) => out.put(bytes),
                Field::List(list) => {
                    out.put_count(list.len()).unwrap();
                    list.iter().for_each(|value| out.put_u16(*value));
                }
            }
        }

        /// Reads a field of the same kind (and, of bare bytes, the same length), whatever is there.
        fn read_like(&self, reader: &mut Reader<'_>) -> Result<Field> {
            Ok(match self {
                Field::U8(_) => Field::U8(reader.u8()?),
                Field::U16(_) => Field::U16(reader.u16()?),
                Field::U32(_) => Field::U32(reader.u32()?),
                Field::U64(_) => Field::U64(reader.u64()?),
                Field::I16(_) => Field::I16(reader.i16()?),
                Field::I32(_) => Field::I32(reader.i32()?),
                Field::F32(_) => Field::F32(reader.f32()?),
                Field::F64(_) => Field::F64(reader.f64()?),
                Field::Bool(_) => Field::Bool(reader.bool()?),
                Field::Text(_) => Field::Text(reader.text()?.to_owned()),
                Field::Bytes(bytes) => Field::Bytes(reader.bytes(bytes.len())?.to_vec()),
                Field::List(_) => {
                    let count = reader.count(2)?;
                    Field::List((0..count).map(|_| reader.u16()).collect::<Result<_>>()?)
                }
            })
        }
    }

    fn any_field() -> impl Strategy<Value = Field> {
        prop_oneof![
            any::<u8>().prop_map(Field::U8),
            any::<u16>().prop_map(Field::U16),
            any::<u32>().prop_map(Field::U32),
            any::<u64>().prop_map(Field::U64),
            any::<i16>().prop_map(Field::I16),
            any::<i32>().prop_map(Field::I32),
            // As bits: every number there is, NaN included.
            any::<u32>().prop_map(|bits| Field::F32(f32::from_bits(bits))),
            any::<u64>().prop_map(|bits| Field::F64(f64::from_bits(bits))),
            any::<bool>().prop_map(Field::Bool),
            ".{0,20}".prop_map(Field::Text),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Field::Bytes),
            prop::collection::vec(any::<u16>(), 0..20).prop_map(Field::List),
        ]
    }

    fn written(fields: &[Field]) -> Vec<u8> {
        let mut bytes = Vec::new();
        fields.iter().for_each(|field| field.write(&mut bytes));
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec(any_field(), 0..20)) {
            let bytes = written(&fields);
            let mut reader = Reader::new("APPS", &bytes, NEXT_STEP);
            let again: Vec<Field> = fields.iter().map(|field| field.read_like(&mut reader).unwrap()).collect();
            // As bytes: a NaN is not equal to itself.
            prop_assert_eq!(written(&again), &*bytes);
            prop_assert_eq!(reader.position(), bytes.len());
            prop_assert!(reader.finish().is_ok());
        }

        /// Bytes of somebody else's: refused or read, and never more read than is there.
        #[test]
        fn anything_may_be_read(
            bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..60),
            fields in prop::collection::vec(any_field(), 0..20),
        ) {
            let mut reader = Reader::new("APPS", &bytes, NEXT_STEP);
            for field in fields {
                let before = reader.position();
                if let Err(error) = field.read_like(&mut reader) {
                    let message = error.to_string();
                    prop_assert!(message.starts_with("field `APPS`: at byte "), "{}", message);
                    prop_assert!(message.ends_with("; make the bundle again"), "{}", message);
                }
                prop_assert!(before <= reader.position() && reader.position() <= bytes.len());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        struct Case {
            what: &'static str,
            bytes: &'static [u8],
            read: fn(&mut Reader<'_>) -> Result<()>,
            says: &'static str,
        }
        let case = |what, bytes, read, says| Case { what, bytes, read, says };
        let cases = [
            case("nothing", &[], |r| r.u8().map(drop), "at byte 0: 1 bytes are asked for, but 0 are left"),
            case("a number cut off", &[1, 2, 3], |r| r.u32().map(drop), "at byte 0: 4 bytes"),
            case(
                "the second number cut off",
                &[1, 2, 3],
                |r| r.u16().and_then(|_| r.u16()).map(drop),
                "at byte 2: 2 bytes are asked for, but 1 are left",
            ),
            case("a length beyond memory", &[1], |r| r.bytes(usize::MAX).map(drop), "at byte 0: "),
            case("a text cut off", &[3, 0, b'a', b'b'], |r| r.text().map(drop), "at byte 2: 3 bytes"),
            case("a text without length", &[3], |r| r.text().map(drop), "at byte 0: 2 bytes"),
            case(
                "no UTF-8",
                &[2, 0, b'a', 0xff],
                |r| r.text().map(drop),
                "at byte 2: a text that is no UTF-8",
            ),
            case("neither yes nor no", &[2], |r| r.bool().map(drop), "at byte 0: 2 where 0 or 1"),
            case(
                "a list longer than the rest",
                &[2, 0, 0, 0, 1, 2, 3],
                |r| r.count(2).map(drop),
                "at byte 0: 2 elements of at least 2 bytes, but 3 bytes are left",
            ),
            case("an endless list", &[0xff; 4], |r| r.count(1).map(drop), "at byte 0: 4294967295 elements"),
            case("an endless list of nothing", &[0xff; 4], |r| r.count(0).map(drop), "at byte 0: 4294967295"),
            case(
                "a list beyond memory",
                &[1, 0, 0, 0, 7],
                |r| r.count(usize::MAX).map(drop),
                "at byte 0: 1 el",
            ),
            case(
                "leftovers",
                &[1, 2, 3],
                |r| r.u8().and_then(|_| r.clone().finish()),
                "at byte 1: 2 bytes too",
            ),
        ];
        for Case { what, bytes, read, says } in cases {
            let message = read(&mut Reader::new("APPS", bytes, NEXT_STEP)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("field `APPS`: {says}")), "{what}: {message}");
            assert!(message.ends_with(NEXT_STEP), "{what}: {message}");
        }
    }

    #[test]
    fn a_failed_number_moves_nothing_and_advice_can_change() {
        let mut reader = Reader::new("APPS", &[1, 2, 3], NEXT_STEP);
        assert!(reader.u32().is_err());
        assert_eq!((reader.position(), reader.rest()), (0, &[1, 2, 3][..]));
        reader.advise("copy the file again");
        assert!(reader.u64().unwrap_err().to_string().ends_with("; copy the file again"));
        assert_eq!(reader.u16().unwrap(), 0x0201);
    }

    #[test]
    fn what_cannot_be_told_is_not_written() {
        let mut bytes = Vec::new();
        bytes.put_text(&"a".repeat(65_535)).unwrap();
        assert_eq!(bytes.len(), 65_537);
        let message = bytes.put_text(&"a".repeat(65_536)).unwrap_err().to_string();
        assert_eq!(message, "a text of 65536 bytes, but 65535 is the most; shorten it");
        assert_eq!(bytes.len(), 65_537);
    }
}
